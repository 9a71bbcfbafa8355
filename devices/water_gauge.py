"""Water gauges (水位站) on rivers, reservoirs and check dams (淤地坝): does the water come?

A station reports every 5 min, every minute while the water rises, and at once past a threshold
(加报). Warning (警戒), guarantee (保证) and flood limit (汛限) belong to the place and its datum.
Hence no limit here is for all stations: each brings its own in the registry.

Sources:
    Four colours by warning and guarantee level (alarm design); deadband 5 cm and two samples are
    ours. SL/T 804-2020 has check dams watched by rain, level, seepage, displacement and video.
"""

from typing import Final

from core.model import Audience, Severity, Text
from devices.care import CARE_COMMANDS, CARE_EVENTS, CARE_RULES, RSSI
from devices.kind import AlarmRule, Command, DeviceKind, Event, Limit, Metric
from devices.unit_slip import UnitSlip
from devices.unusual import UNUSUAL, Unusual
from devices.water_level import WaterLevel

WATER_GAUGE: Final = DeviceKind(
    name="water_gauge",
    label=Text("水位站", "Water gauge"),
    id_prefix="WG",
    class_code="",
    interval_s=300,
    metrics=(
        Metric(
            "level",
            "m",
            Text("水位", "Level"),
            low=-10,
            high=9000,
            rest=2.1,
            noise=0.01,
            decimals=3,
        ),
        Metric(
            "depth", "m", Text("水深", "Depth"), low=0, high=100, rest=1.4, noise=0.005, decimals=3
        ),
        Metric("flow", "m3/s", Text("流量", "Discharge"), low=0, high=20_000, rest=3.5, noise=0.05),
        Metric("vel", "m/s", Text("流速", "Velocity"), low=-5, high=15, rest=0.6, noise=0.02),
        Metric(
            "wtemp",
            "Cel",
            Text("水温", "Water temperature"),
            low=-5,
            high=45,
            rest=12,
            noise=0.1,
            decimals=1,
        ),
        Metric(
            "seep",
            "L/s",
            Text("渗流量", "Seepage"),
            low=0,
            high=1000,
            rest=0.8,
            noise=0.016,
            decimals=3,
        ),
        Metric(
            "pore",
            "kPa",
            Text("渗压", "Pore pressure"),
            low=-50,
            high=2000,
            rest=35,
            noise=0.2,
            decimals=1,
        ),
        Metric(
            "rain_tot",
            "mm",
            Text("累计雨量", "Rain counter"),
            low=0,
            high=1e5,
            rest=0,
            f8=True,
            grows=True,
            decimals=1,
        ),
        Metric("volt", "V", Text("供电电压", "Supply"), low=0, high=30, rest=12.5, noise=0.05),
        RSSI,
    ),
    events=(
        *CARE_EVENTS,
        Event(
            "over_warning",
            Text("超警戒水位", "over warning level"),
            rule_id="level_ladder",
            severity=Severity.ORANGE,
        ),
        Event(
            "over_guarantee",
            Text("超保证水位", "over guarantee level"),
            rule_id="level_ladder",
            severity=Severity.RED,
        ),
        Event("gate_moved", Text("闸门动作", "gate moved")),
    ),
    commands=(
        *CARE_COMMANDS,
        Command("set_clock", Text("校时", "set clock")),
        Command("query_period", Text("查询时段数据", "query period"), (("from", "s"), ("to", "s"))),
        Command("take_picture", Text("拍照", "take picture")),
    ),
    watches=(
        Limit("level", "level_ladder", per_device=True, hold=2, clear_margin=0.05, clear_hold=2),
        UnitSlip(metric="level", rule_id="payload_invalid"),
        WaterLevel(
            metric="level",
            rise_rule="rise_rate",
            stuck_rule="frozen",
            drift_rule="drift",
            suspect_rule="drift_suspect",
            spike_rule="spike",
            source="QARTOD water level 2.1 (2021) for the tests; thresholds are ours",
        ),
        Limit("seep", "seepage", per_device=True, hold=2, clear_margin=0.1, clear_hold=2),
        Limit("volt", "battery_low", blue=11.5, below=True, hold=3, clear_margin=0.5),
        Unusual(full=("level",)),
    ),
    rules=(
        *CARE_RULES,
        UNUSUAL,
        AlarmRule(
            "level_ladder",
            Text("水位超限", "Water level"),
            Severity.BLUE,
            off_delay_s=1800,
            class_code="0492",
            category="event",
            verify="sensor",
            handle_hours=24,
            on_site_minutes=30,
        ),
        AlarmRule(
            "rise_rate",
            Text("水位上涨过快", "Water rising fast"),
            Severity.ORANGE,
            off_delay_s=1800,
            class_code="0492",
            category="event",
            verify="sensor",
            handle_hours=24,
            on_site_minutes=30,
        ),
        AlarmRule(
            "frozen",
            Text("水位计冻结", "Gauge frozen"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            verify="sensor",
        ),
        AlarmRule(
            "drift",
            Text("水位计漂移", "Gauge drifts"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            off_delay_s=21_600,
            verify="sensor",
        ),
        AlarmRule(
            "drift_suspect",
            Text("水位计疑似漂移", "Gauge may drift"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            enabled=False,
        ),
        AlarmRule(
            "spike",
            Text("水位突跳", "Level spike"),
            Severity.BLUE,
            audience=Audience.MAINTENANCE,
            enabled=False,
        ),
        AlarmRule(
            "seepage",
            Text("坝体渗流异常", "Seepage of the dam"),
            Severity.RED,
            off_delay_s=1800,
            latched=True,
            class_code="0493",
            category="event",
            verify="sensor_and_human",
            handle_hours=24,
            on_site_minutes=60,
        ),
    ),
)
