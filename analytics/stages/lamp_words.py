"""What is said of a lamp fault: value, expectation, band, and one sentence in two languages."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analytics.stages import lamp_circuit as circuit
from analytics.stages.columns import Columns
from analytics.stages.explain import quantity, quantity_en
from analytics.stages.lamp_circuit import Floats, LampState
from analytics.stages.sun import Daylight
from core.model import Text, from_micros
from devices.kind import Metric

_DEAD_SUPPLY_V = 50.0
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Seen:
    """A fault as a finding tells it.

    Attributes:
        kind: What was seen.
        feature: Which behaviour changed.
        metric: The metric judged.
        words: The sentence.
        now: How it stands now, for the sentence when it is over.
        value: What was measured.
        expected: What was expected.
        limit: The threshold.
        score: Value or change as a share of what opens; NaN: none.
        detail: The rest.
    """

    kind: str
    feature: str
    metric: Metric
    words: Text
    now: Text
    value: float
    expected: float
    limit: float
    score: float = _NAN
    detail: dict[str, Any] = field(default_factory=dict)


class LampWords:
    """Describes lamp faults.

    Args:
        columns: The kind's metrics.
        daylight: The sun over the city.
    """

    def __init__(self, columns: Columns, daylight: Daylight) -> None:
        self._columns = columns
        self._daylight = daylight

    def describe(
        self,
        fault: int,
        *,
        columns: Floats,
        expected_w: float,
        expected_a: float,
        state: LampState,
        device_no: int,
        ts: int,
    ) -> Seen:
        """Return what to say of a fault of one row.

        Args:
            fault: Which, as :mod:`.lamp_circuit` counts them.
            columns: The row's metrics, as :attr:`devices.lamp_circuit.LampCircuit.watched`.
            expected_w: The power expected at this level, NaN before it is learnt.
            expected_a: The current likewise.
            state: The stage's state.
            device_no: The lamp.
            ts: Event time, microseconds.
        """
        at = int(state.find(np.array([device_no], np.int32))[0])
        if fault in circuit.TRENDS:
            return self._trend(state, at, fault)
        _, level, volt, amp, power, *_ = (float(value) for value in columns)
        learnt: dict[str, Any] = {"rows": state.trend(at, circuit.WEAK)[3]}
        if fault == circuit.OUT:
            share = 1.0 if math.isnan(level) else level / 100
            at_level = np.array([[expected_w], [share]], np.float32)
            dead = float(circuit.dead_below(*at_level)[0])
            return self._out(_dark(volt, amp, expected_a), power, (expected_w, dead), learnt)
        if fault == circuit.SHORT:
            return self._short(amp, expected_a, learnt)
        if fault == circuit.DAY:
            return self._day(power, ts, learnt)
        return self._flicker(state.flips(at), power, expected_w, learnt)

    def _out(
        self, why: tuple[str, Text], power: float, bounds: tuple[float, float], learnt: Any
    ) -> Seen:
        (kind, words), (expected_w, dead_w) = why, bounds
        told = self._says("power", power)
        return Seen(
            kind,
            "power",
            self._columns.metric("power"),
            Text(
                f"开关已合而灯不亮：{told.zh}，{words.zh}",
                f"dark with its switch on: {told.en}, {words.en}",
            ),
            told,
            power,
            expected_w,
            dead_w,
            detail=learnt,
        )

    def _short(self, amp: float, expected_a: float, learnt: dict[str, Any]) -> Seen:
        told = self._says("amp", amp)
        limit = max(2 * expected_a, expected_a + 0.3) if expected_a > 0 else 5.0
        return Seen(
            "short_circuit",
            "current",
            self._columns.metric("amp"),
            Text(
                f"{told.zh}，远大于自身正常值，疑似短路",
                f"{told.en} is far over its own: a short circuit is likely",
            ),
            told,
            amp,
            expected_a,
            limit,
            amp / limit,
            learnt,
        )

    def _day(self, power: float, ts: int, learnt: dict[str, Any]) -> Seen:
        rise, sets = self._daylight.times(ts)
        told, hours = self._says("power", power), (ts - rise) / 3.6e9
        sun = {
            "sunrise": from_micros(rise).isoformat(timespec="minutes"),
            "sunset": from_micros(sets).isoformat(timespec="minutes"),
        }
        return Seen(
            "day_burning",
            "day",
            self._columns.metric("power"),
            Text(
                f"日出后 {hours:.1f} 小时仍亮灯，{told.zh}",
                f"burns {hours:.1f} h after sunrise: {told.en}",
            ),
            told,
            power,
            0.0,
            float(circuit.DAY_W),
            detail=learnt | sun,
        )

    def _flicker(
        self, flips: float, power: float, expected_w: float, learnt: dict[str, Any]
    ) -> Seen:
        times = max(flips, circuit.FLIPS)
        return Seen(
            "flicker",
            "flicker",
            self._columns.metric("power"),
            Text(
                f"灯光闪烁：短时间内明暗变化 {times:.0f} 次",
                f"flickers: {times:.0f} changes between dark and bright in a short time",
            ),
            Text("灯光已稳定", "steady again"),
            power,
            expected_w,
            _NAN,
            flips,
            learnt,
        )

    def _trend(self, state: LampState, at: int, fault: int) -> Seen:
        """Describe a figure that left its reference."""
        which = fault - circuit.WEAK
        ref, recent, noise, rows = state.trend(at, fault)
        band = circuit.allowance(np.full((3, 1), ref, np.float32), np.full((3, 1), noise))
        allowed = float(band[which, 0])
        noise = max(noise, float(circuit.NOISE_FLOOR[which, 0]))
        name = ("power", "pf", "leak")[which]
        metric = self._columns.metric(name)
        told, grows = self._says(name, recent), fault == circuit.LEAK
        side = Text("高于", "above") if grows else Text("低于", "below")
        return Seen(
            ("weak", "power_factor", "leakage")[which],
            ("power", "power_factor", "leakage")[which],
            metric,
            Text(
                f"近期{told.zh}，{side.zh}自身基准 {quantity(ref, metric)}",
                f"{told.en} of late is {side.en} its own {quantity_en(ref, metric)}",
            ),
            told,
            recent,
            ref,
            ref + allowed if grows else ref - allowed,
            abs(recent - ref) / allowed,
            {
                "lo": ref - allowed,
                "hi": ref + allowed,
                "z": (recent - ref) / noise,
                "rows": rows,
            },
        )

    def _says(self, name: str, value: float) -> Text:
        """Return a metric with its value in words."""
        metric = self._columns.metric(name)
        return Text(
            f"{metric.label.zh} {quantity(value, metric)}",
            f"{metric.label.en} {quantity_en(value, metric)}",
        )


def _dark(volt: float, amp: float, expected_a: float) -> tuple[str, Text]:
    """Tell why a lamp is dark with its switch on."""
    nothing = 0.05 * expected_a if expected_a > 0 else circuit.NO_CURRENT_A
    if volt < _DEAD_SUPPLY_V:
        return "no_supply", Text("无供电电压", "no supply voltage")
    if not amp > max(circuit.NO_CURRENT_A, nothing):
        return "open_circuit", Text("有电压无电流，灯具回路开路", "voltage and no current")
    return "dead", Text("有电流而不发光，光源或驱动损坏", "current and no light")
