"""A storm runs down the river: rain, the dam, gauge after gauge, the low-lying covers.

The cell rains in the first quarter; the catchment gathers its water into the dam, whose outlet and
spillway feed the river; each reach delays and flattens what comes. The height of it all is scaled
so that the dam's gauge, the node, rises by ``rise`` metres. Stations report when they pass a level.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import NotFoundError
from core.model import Severity, Text
from devices import KINDS
from simulators.city_devices import CityDevice
from simulators.hydrology import Waters, waters
from simulators.physics.catchment import Dam, Storm, reservoir
from simulators.physics.water import BELOW_WARNING_M, raise_water
from simulators.places import HEIGHT_M, WIDTH_M, to_metres
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

_ROWS: Final = 1440
_RAIN_SHARE: Final = 0.25
_CATCHMENT_SHARE: Final = 0.06
_REACH_SHARE: Final = 0.015
_LAG_SHARE: Final = 0.01
_FLATTENS: Final = 0.93  # of the rise of one reach the next one has
_TIP_MM: Final = 0.2
_CLEARLY_M: Final = 0.06
_HIGH_WATER_M: Final = 0.5  # a cover cries when the water stands so near to it
_LOW_LYING: Final = 0.8  # metres that the water under a cover follows a metre of the river
_OVER_BANK_M: Final = 0.6
_REST_M: Final = KINDS["manhole_cover"].metric("wlvl").rest
Floats = NDArray[np.float64]


class _Cascade:
    def __init__(self, cast: Cast) -> None:
        self._lasts = cast.lasts_s
        self._devices = cast.devices
        self._seconds = np.linspace(0, cast.lasts_s, _ROWS)
        self._waters = waters(list(cast.devices.values()))
        self._storm = Storm(
            peak=cast.parameters["peak"],
            radius=4_000.0,
            lasts=_RAIN_SHARE * cast.lasts_s,
            start=(-0.2 * WIDTH_M, 0.5 * HEIGHT_M),
            speed=(0.8 * WIDTH_M / (_RAIN_SHARE * cast.lasts_s), 0.0),
        )
        self._fallen = {rain.device_id: self._rain(rain) for rain, _ in self._waters.rains}
        self._rises = dict(
            zip(
                (gauge.device_id for gauge in self._waters.gauges),
                self._flood(self._waters, cast.parameters["rise"]),
                strict=True,
            )
        )
        self._under = {
            cover.device_id: self._waters.gauges[place].device_id
            for cover, place in self._waters.covers
        }

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        found: list[Cue] = []
        for gauge in self._waters.gauges:
            found += self._passes(gauge)
        for cover, below in self._under.items():
            near = _REST_M - _LOW_LYING * (self._rises[below] - _OVER_BANK_M) < _HIGH_WATER_M
            if near.any():
                at = float(self._seconds[int(near.argmax())])
                found += [Cue(at, cover), Cue(at + 0.2, cover, "water_high", metrics=("wlvl",))]
        return found

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        if device_id in self._rises:
            raise_water(values, self._at(self._rises[device_id], since_s))
        elif device_id in self._fallen:
            self._pour(self._fallen[device_id], since_s, values)
        elif device_id in self._under:
            rise = self._at(self._rises[self._under[device_id]], since_s)
            higher = _LOW_LYING * max(rise - _OVER_BANK_M, 0.0)
            values["wlvl"] = max(values["wlvl"] - higher, 0.0)
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self._devices]

    def _rain(self, gauge: CityDevice) -> Floats:
        """Return what has fallen at a gauge since the beginning, mm."""
        hours = self._seconds[1] / 3600
        intensity = self._storm.rain(self._seconds, *to_metres(gauge.lon, gauge.lat))
        return np.asarray(np.cumsum(intensity) * hours)

    def _flood(self, river: Waters, top: float) -> list[Floats]:
        """Return how much each gauge rises, metres, the dam's first."""
        step, lasts = float(self._seconds[1]), self._lasts
        rain = self._storm.rain(self._seconds, 0.15 * WIDTH_M, 0.5 * HEIGHT_M)
        runoff = reservoir(rain, step=step, k=_CATCHMENT_SHARE * lasts, lag=_LAG_SHARE * lasts)
        area = float(runoff.max()) * lasts * 0.05
        dam = Dam(area=max(area, 1e-9), crest=0.6, outlet=float(runoff.max()) * 0.4, spillway=2.0)
        level, flow = dam.pass_on(runoff, step=step)
        found = [level]
        for _ in river.gauges[1:]:
            flow = reservoir(flow, step=step, k=_REACH_SHARE * lasts, lag=_LAG_SHARE * lasts)
            found.append(flow)
        height = top
        rises = []
        for series in found:
            rises.append(height * series / max(float(series.max()), 1e-9))
            height *= _FLATTENS
        return rises

    def _pour(self, fallen: Floats, since_s: float, values: Values) -> None:
        now = self._at(fallen, since_s)
        before = self._at(fallen, since_s - 300)
        earlier = self._at(fallen, since_s - 60)
        tips = math.floor(now / _TIP_MM), math.floor(before / _TIP_MM)
        values["rain"] = (tips[0] - tips[1]) * _TIP_MM
        values["rain_tot"] += tips[0] * _TIP_MM
        values["inten"] = (now - earlier) * 60

    def _at(self, series: Floats, since_s: float) -> float:
        return float(np.interp(since_s, self._seconds, series))

    def _passes(self, gauge: CityDevice) -> list[Cue]:
        """Return what a station says when its water passes a level, up and down."""
        ladder, rises = gauge.limits.get("level", {}), self._rises[gauge.device_id]
        found = []
        for event, name in (("over_warning", "orange"), ("over_guarantee", "red")):
            if name not in ladder:
                continue
            needed = ladder[name] - (ladder["orange"] - BELOW_WARNING_M) + _CLEARLY_M
            over = np.flatnonzero(rises > needed)
            if len(over):
                up, down = (float(self._seconds[n]) for n in (over[0], over[-1]))
                found += [
                    Cue(up, gauge.device_id),
                    Cue(up + 0.2, gauge.device_id, event, on=True, metrics=("level",)),
                    Cue(down + 300, gauge.device_id, event, on=False, metrics=("level",)),
                ]
        return found


def _choose(
    kind: str,
    devices: Sequence[CityDevice],
    target: str,
    parameters: Mapping[str, float],
    chance: np.random.Generator,
) -> tuple[str, Sequence[CityDevice]]:
    """Take the first gauges of the river with all that hangs on them; the dam's is the node."""
    if target:
        return choose_devices(kind, devices, target, parameters, chance)
    river = waters(devices)
    reaches = int(parameters["reaches"])
    gauges = [each for each in river.gauges[:reaches] if "orange" in each.limits.get("level", {})]
    if not gauges:
        raise NotFoundError("no station here has a warning level of its own")
    rains = [rain for rain, place in river.rains if place < reaches]
    covers = [cover for cover, place in river.covers if place < reaches]
    return gauges[0].device_id, [*gauges, *rains, *covers]


STORM_CASCADE: Final = Scene(
    name="storm_cascade",
    label=Text("暴雨洪水演进", "Storm down the river"),
    about=Text(
        "暴雨汇入淤地坝，洪水沿河逐站演进，低洼处井下水位随之上涨",
        "a storm fills the dam, the flood runs down from gauge to gauge, and covers that lie low "
        "stand in water",
    ),
    cause="storm",
    kind="water_gauge",
    severity=Severity.RED,
    lasts_s=43_200,
    choose=_choose,
    act=_Cascade,
    parameters={"reaches": 6, "rise": 2.6, "peak": 60.0},
    must=(
        {"rule": "level_ladder", "on": "node", "count": 1, "severity": "red"},
        {"rule": "rise_rate", "on": "node"},
    ),
    must_not=(
        {"rule": "level_ladder", "on": "node", "count": 2},
        {"rule": "frozen", "on": "device"},
        {"rule": "drift", "on": "device"},
        {"rule": "payload_invalid", "on": "device"},
    ),
    mendable=False,
)
