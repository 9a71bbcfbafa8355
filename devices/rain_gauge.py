"""Rain gauges (雨量站): how much fell, and what the weather service makes of it.

A tipping bucket (翻斗) counts 0.2 or 0.5 mm a tip. Stations report every 5 min: the sum of the
interval, the counter, or both. A row is the rain since the row before; of the two the counter is
believed first, since it also knows what fell while a report was lost.

Sources:
    Steps: 气象灾害预警信号发布与传播办法 (China Meteorological Administration order 16, 2007),
    rainstorm signals: 50 mm in 12 h blue, 50 mm in 6 h yellow, 50 mm in 3 h orange, 100 mm in 3 h
    red. The hour without rain that ends a warning is ours.
"""

from typing import Final

from core.model import Severity, Text
from devices.care import CARE_COMMANDS, CARE_EVENTS, CARE_RULES, RSSI
from devices.kind import AlarmRule, Command, DeviceKind, Event, Limit, Metric
from devices.rainfall import Rainfall, RainStep

RAIN_GAUGE: Final = DeviceKind(
    name="rain_gauge",
    label=Text("雨量站", "Rain gauge"),
    id_prefix="RG",
    class_code="",
    interval_s=300,
    metrics=(
        Metric(
            "rain",
            "mm",
            Text("时段雨量", "Rain of the interval"),
            low=0,
            high=60,
            rest=0,
            decimals=1,
        ),
        Metric("inten", "mm/h", Text("雨强", "Intensity"), low=0, high=400, rest=0, decimals=1),
        Metric("heater", "1", Text("加热", "Heater"), low=0, high=1, rest=0, decimals=0),
        Metric("volt", "V", Text("供电电压", "Supply"), low=0, high=30, rest=12.5, noise=0.05),
        RSSI,
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
    ),
    events=(*CARE_EVENTS, Event("rain_begins", Text("开始降雨", "rain begins"))),
    commands=(
        *CARE_COMMANDS,
        Command("set_clock", Text("校时", "set clock")),
        Command("query_period", Text("查询时段数据", "query period"), (("from", "s"), ("to", "s"))),
    ),
    watches=(
        Rainfall(
            counter="rain_tot",
            interval="rain",
            rule_id="rain_ladder",
            steps=(
                RainStep(Severity.RED, 3, 100),
                RainStep(Severity.ORANGE, 3, 50),
                RainStep(Severity.YELLOW, 6, 50),
                RainStep(Severity.BLUE, 12, 50),
            ),
            quiet_s=3600,
            source="CMA order 16 (2007), rainstorm signals; the quiet hour is ours",
        ),
        Limit("volt", "battery_low", blue=11.5, below=True, hold=3, clear_margin=0.5),
    ),
    rules=(
        *CARE_RULES,
        AlarmRule(
            "rain_ladder",
            Text("强降雨", "Heavy rain"),
            Severity.BLUE,
            off_delay_s=0,
            verify="sensor",
            source="CMA order 16 (2007)",
        ),
    ),
)
