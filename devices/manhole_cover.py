"""Smart manhole covers (智能井盖): does the cover lie where it belongs, and is the chamber dry?

A battery-powered terminal hangs under the cover and sleeps. It reports every hour, and at once when
its accelerometer feels a movement. Tilt is the angle to the rest position stored when the cover was
laid, so that a cover in a sloping street rests at 0° as well.

Sources:
    Makers' terminals alarm at 10° from rest and treat more than 90° as open (product pages). An
    alarm must reach the platform within 30 s of wake-up (GB/T 41401-2022). A raw angle over 10° is
    useless under traffic: 96 % of quiet covers alarmed (measured), hence the displacement watch.
    On site within 30 min (Tianjin), handled within 6 h (Guangzhou, 2021). The rest is ours.
"""

from typing import Final

from core.model import Severity, Text
from devices.care import CARE_COMMANDS, CARE_EVENTS, CARE_RULES, RSSI
from devices.kind import AlarmRule, Command, DeviceKind, Displacement, Event, Limit, Metric
from devices.unusual import UNUSUAL, Unusual

MANHOLE_COVER: Final = DeviceKind(
    name="manhole_cover",
    label=Text("智能井盖", "Manhole cover"),
    id_prefix="MH",
    class_code="0102",
    interval_s=3600,
    wakes=True,
    metrics=(
        Metric("tilt", "deg", Text("倾角", "Tilt"), low=0, high=180, rest=0.8, noise=0.4),
        Metric(
            "ax",
            "m[g]",
            Text("加速度 X", "Acceleration x"),
            low=-16000,
            high=16000,
            rest=12,
            noise=5,
            decimals=0,
        ),
        Metric(
            "ay",
            "m[g]",
            Text("加速度 Y", "Acceleration y"),
            low=-16000,
            high=16000,
            rest=-8,
            noise=5,
            decimals=0,
        ),
        Metric(
            "az",
            "m[g]",
            Text("加速度 Z", "Acceleration z"),
            low=-16000,
            high=16000,
            rest=1000,
            noise=5,
            decimals=0,
        ),
        Metric(
            "gap",
            "mm",
            Text("位移", "Gap to frame"),
            low=0,
            high=500,
            rest=1.5,
            noise=0.8,
            decimals=1,
        ),
        Metric(
            "shock",
            "{count}",
            Text("震动次数", "Shocks"),
            low=0,
            high=65535,
            rest=12,
            noise=4,
            decimals=0,
        ),
        Metric(
            "wlvl",
            "m",
            Text("井下水位距井盖", "Distance to water"),
            low=0,
            high=20,
            rest=2.4,
            noise=0.01,
        ),
        Metric(
            "temp",
            "Cel",
            Text("井内温度", "Temperature"),
            low=-40,
            high=85,
            rest=16,
            noise=0.5,
            decimals=1,
        ),
        Metric("batt", "V", Text("电池电压", "Battery"), low=0, high=5, rest=3.6, noise=0.005),
        RSSI,
    ),
    events=(
        *CARE_EVENTS,
        Event(
            "cover_open",
            Text("井盖开启", "cover opened"),
            rule_id="cover_open",
            severity=Severity.RED,
        ),
        Event("cover_close", Text("井盖复位", "cover closed"), clears="cover_open"),
        Event(
            "tilt_alarm",
            Text("倾斜报警", "tilt alarm"),
            rule_id="cover_shift",
            severity=Severity.ORANGE,
        ),
        Event("impact", Text("撞击", "impact")),
        Event(
            "water_high",
            Text("井下水满", "water high"),
            rule_id="cover_flooded",
            severity=Severity.ORANGE,
        ),
    ),
    commands=(
        *CARE_COMMANDS,
        Command("learn_rest", Text("重新学习静置姿态", "learn rest position")),
        Command(
            "set_tilt_threshold",
            Text("设置倾角阈值", "set tilt threshold"),
            (("threshold", "deg"),),
        ),
        Command("work_mode", Text("检修模式", "maintenance mode"), (("minutes", "min"),)),
    ),
    watches=(
        Displacement(
            acceleration=("ax", "ay", "az"),
            temperature="temp",
            tilt="tilt",
            wakes=True,
            open_deg=90,
            open_rule="cover_open",
            shift_rule="cover_shift",
            settle_rule="cover_settling",
            rock_rule="cover_rocking",
            source="makers' product pages for 90°; gate and noise scale ours (measured)",
        ),
        Limit(
            "wlvl", "cover_flooded", orange=0.3, below=True, hold=2, clear_margin=0.2, clear_hold=2
        ),
        Limit("batt", "battery_low", blue=3.2, below=True, hold=3, clear_margin=0.1),
        Unusual(lite=("gap", "wlvl")),
    ),
    rules=(
        *CARE_RULES,
        UNUSUAL,
        AlarmRule(
            "cover_open",
            Text("井盖开启/缺失", "Cover open or gone"),
            Severity.RED,
            latched=True,
            mature_on_silence=True,
            allowed_lateness_s=600,
            class_code="0102",
            verify="sensor_and_human",
            handle_hours=6,
            on_site_minutes=30,
            source="Guangzhou 2021 (6 h), Tianjin (30 min)",
        ),
        AlarmRule(
            "cover_shift",
            Text("井盖位移", "Cover shifted"),
            Severity.ORANGE,
            latched=True,
            mature_on_silence=True,
            allowed_lateness_s=600,
            class_code="0102",
            verify="sensor_and_human",
        ),
        AlarmRule(
            "cover_settling",
            Text("井盖沉降", "Cover settling"),
            Severity.YELLOW,
            off_delay_s=86_400,
            allowed_lateness_s=600,
            class_code="0102",
        ),
        AlarmRule(
            "cover_rocking",
            Text("井盖松动", "Cover rocking"),
            Severity.BLUE,
            quiet_clear_s=7 * 86_400,
            allowed_lateness_s=600,
            class_code="0102",
            verify="human",
            handle_hours=72,
        ),
        AlarmRule(
            "cover_flooded",
            Text("井下水满", "Chamber flooded"),
            Severity.ORANGE,
            allowed_lateness_s=600,
            class_code="0102",
        ),
    ),
)
