"""Displacement points (位移监测点) on check dams (淤地坝) and slopes: does the ground move?

A GNSS receiver or a total station's prism gives the position against the day it was set up, in mm.
Raw solutions come every hour, better ones every 6 h or once a day, and every 5 min in alert.

Sources:
    Noise 1.4 to 2.8 mm horizontally and 3 to 6 mm in height, of daily solutions (measured on 18
    real stations). SL/T 804-2020 has check dams watched by displacement and names no limit, so
    every dam brings its own; without them a step is orange. The rest is ours (measured).
"""

from typing import Final

from core.model import Severity, Text
from devices.care import CARE_COMMANDS, CARE_EVENTS, CARE_RULES, RSSI
from devices.kind import AlarmRule, Command, DeviceKind, Event, Limit, Metric
from devices.motion import GroundAcceleration, GroundStep

_FAR_MM: Final = 1e5


def _axis(name: str, zh: str, en: str, noise: float) -> Metric:
    return Metric(
        name, "mm", Text(zh, en), low=-_FAR_MM, high=_FAR_MM, rest=0, noise=noise, decimals=1
    )


DISPLACEMENT_POINT: Final = DeviceKind(
    name="displacement_point",
    label=Text("位移监测点", "Displacement point"),
    id_prefix="DP",
    class_code="",
    interval_s=3600,
    metrics=(
        _axis("east", "东向位移", "East", 1.6),
        _axis("north", "北向位移", "North", 1.6),
        _axis("up", "垂直位移", "Up", 4.0),
        Metric(
            "tilt_x",
            "deg",
            Text("倾斜 X", "Tilt x"),
            low=-90,
            high=90,
            rest=0,
            noise=0.005,
            decimals=3,
        ),
        Metric(
            "tilt_y",
            "deg",
            Text("倾斜 Y", "Tilt y"),
            low=-90,
            high=90,
            rest=0,
            noise=0.005,
            decimals=3,
        ),
        Metric("crack", "mm", Text("裂缝宽度", "Crack"), low=-10, high=1000, rest=2, noise=0.05),
        Metric(
            "sats",
            "{count}",
            Text("卫星数", "Satellites"),
            low=0,
            high=60,
            rest=18,
            noise=1.5,
            decimals=0,
        ),
        Metric(
            "sd_h", "mm", Text("水平中误差", "Error, plane"), low=0, high=1000, rest=2, noise=0.2
        ),
        Metric(
            "sd_v", "mm", Text("高程中误差", "Error, height"), low=0, high=1000, rest=5, noise=0.4
        ),
        Metric("volt", "V", Text("供电电压", "Supply"), low=0, high=30, rest=12.5, noise=0.05),
        RSSI,
    ),
    events=(
        *CARE_EVENTS,
        Event("fix_lost", Text("失去固定解", "fix lost")),
        Event(
            "moved",
            Text("位移报警", "moved"),
            rule_id="dam_displacement",
            severity=Severity.ORANGE,
        ),
    ),
    commands=(
        *CARE_COMMANDS,
        Command("set_rate", Text("设置解算间隔", "set rate"), (("interval", "s"),)),
        Command("reference", Text("更换基准站", "change the reference station")),
    ),
    watches=(
        GroundStep(
            east="east",
            north="north",
            rule_id="dam_displacement",
            source="9 real stations, 10 years: 11 of 11 earthquakes (measured)",
        ),
        GroundAcceleration(
            east="east",
            north="north",
            rule_id="slope_acceleration",
            source="simulated slopes (measured); tangent angle after Xu Qiang, shown only",
        ),
        Limit("crack", "crack_wide", per_device=True, hold=3, clear_margin=0.5, clear_hold=3),
        Limit("volt", "battery_low", blue=11.5, below=True, hold=3, clear_margin=0.5),
    ),
    rules=(
        *CARE_RULES,
        AlarmRule(
            "dam_displacement",
            Text("坝体位移", "Displacement of the dam"),
            Severity.ORANGE,
            latched=True,
            quiet_clear_s=7 * 86_400,
            allowed_lateness_s=86_400,
            class_code="0494",
            category="event",
            verify="human",
            handle_hours=24,
            on_site_minutes=120,
        ),
        AlarmRule(
            "slope_acceleration",
            Text("加速变形", "Slope accelerating"),
            Severity.ORANGE,
            latched=True,
            mature_on_silence=True,
            allowed_lateness_s=86_400,
            class_code="0494",
            category="event",
            verify="sensor_and_human",
            handle_hours=24,
            on_site_minutes=60,
        ),
        AlarmRule(
            "crack_wide",
            Text("裂缝超限", "Crack too wide"),
            Severity.ORANGE,
            off_delay_s=86_400,
            class_code="0494",
            category="event",
            verify="sensor_or_human",
        ),
    ),
)
