"""What every device has, whatever it measures: events and alarm rules of device care (设备运维).

A device fault is not a city event: these rules speak to maintainers, never to a city crew.
"""

from typing import Final

from core.model import Audience, Severity, Text
from devices.kind import AlarmRule, Command, Event, Metric

RSSI: Final = Metric(
    "rssi",
    "dB{mW}",
    Text("信号强度", "Signal"),
    low=-125,
    high=-20,
    rest=-82,
    noise=3,
    decimals=0,
)
"""How well the network hears it; every kind with a radio has it."""

CARE_EVENTS: Final = (
    Event("power_on", Text("上电", "powered on")),
    Event("low_battery", Text("电量低", "battery low"), rule_id="battery_low"),
    Event("tamper", Text("被拆动", "tampered with"), rule_id="tamper", severity=Severity.YELLOW),
    Event("sensor_fault", Text("传感器故障", "sensor fault"), rule_id="sensor_fault"),
)

CARE_COMMANDS: Final = (
    Command("report_now", Text("立即上报", "report now")),
    Command("set_interval", Text("设置上报间隔", "set interval"), (("interval", "s"),)),
    Command("resend", Text("补传", "resend")),
    Command("reboot", Text("重启", "reboot")),
)


def _care(rule_id: str, zh: str, en: str, severity: Severity = Severity.BLUE) -> AlarmRule:
    return AlarmRule(
        rule_id,
        Text(zh, en),
        severity,
        audience=Audience.MAINTENANCE,
        quiet_clear_s=86_400,
        verify="sensor",
    )


CARE_RULES: Final = (
    _care("offline", "失联", "offline"),
    _care("battery_low", "电量低", "battery low"),
    _care("tamper", "设备被拆动", "tampered with", Severity.YELLOW),
    _care("sensor_fault", "传感器故障", "sensor fault"),
    _care("out_of_range", "数值超量程", "value out of range"),
    _care("clock_wrong", "时钟错误", "clock wrong"),
    _care("payload_invalid", "报文异常", "payloads cannot be read"),
    _care("chatty", "上报过于频繁", "reports too often"),
    _care("flapping", "告警抖动", "alarm keeps coming and going"),
    _care("stage_failed", "检测程序出错", "detector failed"),
)
"""Alarm rules that hold for every kind, virtual ones such as gateways included."""
