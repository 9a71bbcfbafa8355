"""Badges of sanitation workers (环卫工牌): is somebody in need of help?

A badge reports every 60 s on shift and nothing off shift, so its silence is no fault. It is there
for the worker's safety first: heart rate only where the worker agrees, tracks end with the shift,
and long stillness is asked about gently before anybody is sent.

Sources:
    Outdoor work stops at 40 °C (防暑降温措施管理办法, 安监总安健〔2012〕89号). The rest is ours.
"""

from typing import Final

from core.model import Audience, Severity, Text
from devices.care import CARE_COMMANDS, CARE_EVENTS, CARE_RULES, RSSI
from devices.kind import AlarmRule, Command, DeviceKind, Event, Limit, Metric
from devices.position import position
from devices.rescue import HELP, SOS, help_rule
from devices.rounds import Presence

SANITATION_WORKER: Final = DeviceKind(
    name="sanitation_worker",
    label=Text("环卫工牌", "Sanitation worker"),
    id_prefix="SW",
    class_code="",
    interval_s=60,
    sleeps=True,
    moves=True,
    metrics=(
        *position(8e-5),
        Metric(
            "steps",
            "{count}",
            Text("步数", "Steps"),
            low=0,
            high=1e6,
            rest=40,
            f8=True,
            grows=True,
            decimals=0,
        ),
        Metric(
            "still",
            "min",
            Text("静止时长", "Still for"),
            low=0,
            high=1440,
            rest=2,
            noise=1,
            decimals=0,
        ),
        Metric(
            "hr",
            "/min",
            Text("心率", "Heart rate"),
            low=30,
            high=220,
            rest=88,
            noise=6,
            decimals=0,
        ),
        Metric(
            "temp",
            "Cel",
            Text("环境温度", "Temperature"),
            low=-40,
            high=85,
            rest=24,
            noise=0.5,
            decimals=1,
        ),
        Metric(
            "batt_pct",
            "%",
            Text("电量", "Battery"),
            low=0,
            high=100,
            rest=80,
            noise=0.5,
            decimals=0,
        ),
        RSSI,
    ),
    events=(
        *CARE_EVENTS,
        Event("sos", Text("一键求助", "call for help"), rule_id="sos", severity=Severity.RED),
        Event("fall", Text("跌倒", "fall"), rule_id="worker_fall", severity=Severity.RED),
        Event("shift_on", Text("上岗", "shift begins")),
        Event("shift_off", Text("下岗", "shift ends")),
    ),
    commands=(
        *CARE_COMMANDS,
        Command("message", Text("文字消息", "message"), (("text", "1"),)),
        Command("find", Text("响铃寻找", "find")),
    ),
    watches=(
        Limit("still", "worker_still", blue=45, hold=2),
        Presence(absent_rule="section_absent"),
        Limit(
            "temp",
            "heat_stress",
            yellow=40,
            hold=2,
            hold_s=1800,
            clear_margin=2,
            clear_hold=2,
            source="安监总安健〔2012〕89号: 40 °C; half an hour is ours: badges warm in the sun",
        ),
        Limit(
            "batt_pct", "battery_low", blue=15, below=True, hold=3, clear_margin=10, clear_hold=2
        ),
    ),
    rules=(
        *CARE_RULES,
        SOS,
        help_rule("worker_fall", "人员跌倒", "Worker fell"),
        AlarmRule(
            "worker_still",
            Text("长时间静止", "Still for long"),
            Severity.BLUE,
            off_delay_s=120,
            class_code=HELP,
            category="event",
            verify="human",
        ),
        AlarmRule(
            "section_absent",
            Text("在岗时间不足", "Little time on the section"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            quiet_clear_s=86_400,
            allowed_lateness_s=86_400,
            verify="human",
        ),
        AlarmRule(
            "heat_stress",
            Text("高温作业", "Working in the heat"),
            Severity.YELLOW,
            off_delay_s=1800,
            class_code=HELP,
            category="event",
            verify="human",
            handle_hours=2,
        ),
    ),
)
