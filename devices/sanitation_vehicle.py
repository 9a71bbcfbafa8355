"""Sanitation vehicles (环卫车): is the street swept, and is the crew safe?

A terminal in the cab reports every 10 s while working and every 5 min while parked. What it
measures must look fair to a driver: a hole in the positions is "unknown", never "missed".

Sources:
    Sweeping at 4 to 12 km/h, road cleaning handled within 2 working hours (one district's
    schedule). The rest is ours.
"""

from typing import Final

from core.model import Audience, Severity, Text
from devices.care import CARE_COMMANDS, CARE_EVENTS, CARE_RULES, RSSI
from devices.kind import AlarmRule, Command, DeviceKind, Event, Limit, Metric
from devices.position import position
from devices.rescue import SOS
from devices.rounds import Rounds

SANITATION_VEHICLE: Final = DeviceKind(
    name="sanitation_vehicle",
    label=Text("环卫车", "Sanitation vehicle"),
    id_prefix="SV",
    class_code="",
    interval_s=10,
    idle_interval_s=300,
    moves=True,
    metrics=(
        *position(3e-5),
        Metric(
            "speed", "km/h", Text("速度", "Speed"), low=0, high=160, rest=8, noise=1, decimals=1
        ),
        Metric(
            "course", "deg", Text("航向", "Course"), low=0, high=360, rest=90, noise=2, decimals=0
        ),
        Metric(
            "sats",
            "{count}",
            Text("卫星数", "Satellites"),
            low=0,
            high=60,
            rest=15,
            noise=1.5,
            decimals=0,
        ),
        Metric(
            "odo",
            "km",
            Text("里程", "Odometer"),
            low=0,
            high=2e6,
            rest=0.022,
            f8=True,
            grows=True,
            decimals=3,
        ),
        Metric("acc", "1", Text("点火", "Ignition"), low=0, high=1, rest=1, decimals=0),
        Metric("brush", "1", Text("扫刷", "Brush"), low=0, high=1, rest=1, decimals=0),
        Metric("spray", "1", Text("喷水", "Spray"), low=0, high=1, rest=1, decimals=0),
        Metric("lift", "1", Text("举升", "Lift"), low=0, high=1, rest=0, decimals=0),
        Metric("pto", "1", Text("取力", "Power take-off"), low=0, high=1, rest=1, decimals=0),
        Metric(
            "water",
            "%",
            Text("水箱液位", "Water tank"),
            low=0,
            high=100,
            rest=60,
            noise=1,
            decimals=0,
        ),
        Metric("load", "%", Text("装载率", "Load"), low=0, high=100, rest=40, noise=1, decimals=0),
        Metric("fuel", "%", Text("油量", "Fuel"), low=0, high=100, rest=70, noise=1, decimals=0),
        Metric(
            "weigh",
            "kg",
            Text("称重", "Load cell"),
            low=0,
            high=40_000,
            rest=3200,
            noise=20,
            decimals=0,
        ),
        Metric(
            "rpm",
            "/min",
            Text("副发动机转速", "Auxiliary engine"),
            low=0,
            high=6000,
            rest=1500,
            noise=20,
            decimals=0,
        ),
        RSSI,
    ),
    events=(
        *CARE_EVENTS,
        Event("bin_lift", Text("提桶", "bin lifted")),
        Event("dump", Text("卸料", "unloaded")),
        Event("harsh", Text("急加减速", "harsh driving")),
        Event("panic", Text("紧急按钮", "panic button"), rule_id="sos", severity=Severity.RED),
    ),
    commands=(
        *CARE_COMMANDS,
        Command("route", Text("下发路线", "route"), (("id", "1"),)),
        Command("message", Text("文字消息", "message"), (("text", "1"),)),
        Command("snapshot", Text("抓拍", "snapshot")),
    ),
    watches=(
        Limit(
            "speed",
            "working_too_fast",
            yellow=15,
            when="brush",
            hold=3,
            clear_margin=3,
            clear_hold=3,
            source="ours: 12 km/h, the upper end of sweeping, and 3 km/h for the receiver",
        ),
        Rounds(
            missed_rule="route_missed",
            dry_rule="dry_run",
            off_rule="off_route",
            stop_rule="long_stop",
        ),
    ),
    rules=(
        *CARE_RULES,
        SOS,
        AlarmRule(
            "working_too_fast",
            Text("作业超速", "Sweeping too fast"),
            Severity.YELLOW,
            on_delay_s=60,
            off_delay_s=120,
            class_code="0104",
            category="event",
            handle_hours=2,
            source="one district's schedule (road cleaning, 2 h)",
        ),
        AlarmRule(
            "route_missed",
            Text("路段漏扫", "Segments missed"),
            Severity.YELLOW,
            quiet_clear_s=86_400,
            allowed_lateness_s=86_400,
            class_code="0104",
            category="event",
            verify="human",
            handle_hours=2,
            source="one district's schedule (road cleaning, 2 h)",
        ),
        AlarmRule(
            "dry_run",
            Text("作业装置未开启", "Brush and spray off"),
            Severity.YELLOW,
            off_delay_s=300,
            class_code="0104",
            category="event",
            verify="sensor",
            handle_hours=2,
        ),
        AlarmRule(
            "off_route",
            Text("偏离作业区域", "Off its route"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            verify="sensor",
        ),
        AlarmRule(
            "long_stop",
            Text("班中长时间停车", "Stands for long"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            verify="sensor",
        ),
    ),
)
