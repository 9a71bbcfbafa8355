"""Smart street lamps (智慧路灯): does it burn by night alone, and is the pole safe to touch?

A controller in the pole switches and dims the lamp and measures its supply. It reports every 5 min
while lit and every 15 min by day. A command is proven by ``power``, never by an acknowledgement.

Sources:
    30 mA is the residual current above which protection against shock must trip (IEC 60364-4-41,
    415.1). Supply 220 V; drivers are rated to 264 V (makers' data sheets). No public limit of
    handling was found for lamps. The rest is ours.
"""

from typing import Final

from core.model import Audience, Severity, Text
from devices.care import CARE_COMMANDS, CARE_EVENTS, CARE_RULES, RSSI
from devices.class_model import UNLIKE_CLASS, ClassModel
from devices.kind import (
    AlarmRule,
    Command,
    DeviceKind,
    Event,
    Limit,
    Metric,
)
from devices.lamp_circuit import LampCircuit
from devices.neighbours import Neighbours
from devices.unusual import UNUSUAL, Unusual

_LAMP: Final = "0118"
"""The lamp among the city's components (路灯)."""

STREET_LAMP: Final = DeviceKind(
    name="street_lamp",
    label=Text("智慧路灯", "Street lamp"),
    id_prefix="SL",
    class_code=_LAMP,
    interval_s=300,
    idle_interval_s=900,
    metrics=(
        Metric("on", "1", Text("开灯状态", "Switched on"), low=0, high=1, rest=1, decimals=0),
        Metric("level", "%", Text("调光", "Dimming"), low=0, high=100, rest=100, decimals=0),
        Metric(
            "volt", "V", Text("电压", "Voltage"), low=0, high=300, rest=228, noise=3, decimals=1
        ),
        Metric(
            "amp", "A", Text("电流", "Current"), low=0, high=20, rest=0.55, noise=0.01, decimals=3
        ),
        Metric(
            "power",
            "W",
            Text("有功功率", "Active power"),
            low=0,
            high=2000,
            rest=120,
            noise=1.2,
            decimals=1,
        ),
        Metric("pf", "1", Text("功率因数", "Power factor"), low=0, high=1, rest=0.95, noise=0.01),
        Metric(
            "energy",
            "kW.h",
            Text("累计电量", "Energy"),
            low=0,
            high=1e7,
            rest=0.01,
            f8=True,
            grows=True,
            decimals=3,
        ),
        Metric(
            "lux",
            "lx",
            Text("环境照度", "Daylight"),
            low=0,
            high=120_000,
            rest=4,
            noise=1,
            decimals=0,
        ),
        Metric(
            "temp",
            "Cel",
            Text("驱动温度", "Driver temperature"),
            low=-40,
            high=110,
            rest=42,
            noise=0.5,
            decimals=1,
        ),
        Metric(
            "leak", "mA", Text("漏电流", "Leakage"), low=0, high=1000, rest=2, noise=0.5, decimals=1
        ),
        Metric("lean", "deg", Text("灯杆倾角", "Pole angle"), low=0, high=90, rest=0.6, noise=0.2),
        RSSI,
    ),
    events=(
        *CARE_EVENTS,
        Event(
            "lamp_fault",
            Text("灯具故障", "lamp fault"),
            rule_id="lamp_out",
            severity=Severity.YELLOW,
        ),
        Event("over_volt", Text("过压", "over voltage"), rule_id="over_volt"),
        Event("under_volt", Text("欠压", "under voltage"), rule_id="under_volt"),
        Event(
            "leak_alarm",
            Text("漏电报警", "leakage alarm"),
            rule_id="leakage",
            severity=Severity.RED,
        ),
        Event(
            "door_open",
            Text("灯杆门开启", "pole door opened"),
            rule_id="pole_door_open",
            severity=Severity.YELLOW,
        ),
    ),
    commands=(
        *CARE_COMMANDS,
        Command("on", Text("开灯", "on")),
        Command("off", Text("关灯", "off")),
        Command("dim", Text("调光", "dim"), (("level", "%"),)),
        Command("schedule", Text("下发策略", "schedule"), (("plan", "1"),)),
        Command("group", Text("分组", "group"), (("add", "1"), ("remove", "1"))),
    ),
    watches=(
        LampCircuit(
            out_rule="lamp_out",
            short_rule="lamp_short",
            day_rule="lamp_day_on",
            weak_rule="lamp_weak",
            pf_rule="lamp_pf_low",
            leak_rule="leakage_rising",
            flicker_rule="lamp_flicker",
        ),
        Neighbours(
            metric="power",
            group="feeder",
            least=15,
            rule_id="lamp_unlike",
            low_rule="feeder_down",
            high_rule="feeder_day_on",
        ),
        Limit(
            "leak",
            "leakage",
            red=30,
            clear_margin=10,
            clear_hold=2,
            source="IEC 60364-4-41, 415.1: 30 mA",
        ),
        ClassModel(features=("power", "pf", "temp", "leak"), when="on"),
        Limit("lean", "pole_lean", yellow=5, orange=15, hold=2, clear_margin=1, clear_hold=2),
        Limit(
            "volt",
            "over_volt",
            blue=250,
            yellow=264,
            hold=2,
            clear_margin=4,
            clear_hold=2,
            source="264 V: makers' data sheets; the rest ours",
        ),
        Limit(
            "volt",
            "under_volt",
            blue=187,
            yellow=176,
            below=True,
            hold=2,
            clear_margin=4,
            clear_hold=2,
        ),
        Unusual(lite=("power",)),
    ),
    rules=(
        *CARE_RULES,
        UNUSUAL,
        UNLIKE_CLASS,
        AlarmRule(
            "lamp_out",
            Text("单灯灭", "Lamp out"),
            Severity.YELLOW,
            on_delay_s=600,
            class_code=_LAMP,
            verify="sensor",
            seen_when="on",
        ),
        AlarmRule(
            "lamp_day_on",
            Text("白天亮灯", "Lamp burning by day"),
            Severity.BLUE,
            on_delay_s=1800,
            class_code=_LAMP,
            verify="sensor",
        ),
        AlarmRule(
            "lamp_short",
            Text("灯具短路", "Short circuit"),
            Severity.ORANGE,
            class_code=_LAMP,
            verify="sensor_and_human",
            handle_hours=6,
            seen_when="on",
        ),
        AlarmRule(
            "lamp_weak",
            Text("灯具功率偏低", "Weak lamp"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            verify="sensor",
        ),
        AlarmRule(
            "lamp_pf_low",
            Text("功率因数下降", "Power factor decays"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            verify="sensor",
        ),
        AlarmRule(
            "lamp_flicker",
            Text("灯光闪烁", "Lamp flickers"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            off_delay_s=1800,
            verify="sensor",
        ),
        AlarmRule(
            "lamp_unlike",
            Text("与同回路路灯不一致", "Unlike the lamps of its circuit"),
            Severity.YELLOW,
            class_code=_LAMP,
            verify="sensor",
        ),
        AlarmRule(
            "leakage_rising",
            Text("漏电流上升", "Leakage grows"),
            Severity.YELLOW,
            class_code=_LAMP,
            verify="sensor_and_human",
            handle_hours=12,
        ),
        AlarmRule(
            "leakage",
            Text("灯杆漏电", "Leakage at the pole"),
            Severity.RED,
            latched=True,
            class_code=_LAMP,
            verify="sensor_and_human",
            handle_hours=2,
            on_site_minutes=30,
        ),
        AlarmRule(
            "pole_lean",
            Text("灯杆倾斜", "Leaning pole"),
            Severity.YELLOW,
            latched=True,
            class_code=_LAMP,
            verify="sensor_and_human",
        ),
        AlarmRule(
            "pole_door_open",
            Text("灯杆门开启", "Pole door open"),
            Severity.YELLOW,
            quiet_clear_s=86_400,
            class_code=_LAMP,
            verify="human",
        ),
        AlarmRule(
            "over_volt",
            Text("过压", "Over voltage"),
            Severity.BLUE,
            on_delay_s=600,
            class_code=_LAMP,
            verify="sensor",
        ),
        AlarmRule(
            "under_volt",
            Text("欠压", "Under voltage"),
            Severity.BLUE,
            on_delay_s=600,
            class_code=_LAMP,
            verify="sensor",
        ),
    ),
)
