"""The river rises past warning and guarantee, and falls again.

``rise(t) = top · sin²(π · t / T)``: smooth at both ends, steepest between, about level at the top.
A station reports every minute while the water moves, and at once (加报) when it passes a level.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from core.errors import NotFoundError
from core.model import Severity, Text
from simulators.city_devices import CityDevice
from simulators.physics.water import BELOW_WARNING_M, raise_water
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

_EVERY_S: Final = 60.0
_CLEARLY_M: Final = 0.06  # a level is passed when waves and noise no longer matter


class _Flood:
    def __init__(self, cast: Cast) -> None:
        self._lasts = cast.lasts_s
        self._top = cast.parameters["rise"]
        self._devices = cast.devices

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        found = []
        for device_id, device in self._devices.items():
            found += [Cue(row * _EVERY_S, device_id) for row in range(int(self._lasts / _EVERY_S))]
            for event, step in (("over_warning", "orange"), ("over_guarantee", "red")):
                passed = self._passes(device.limits, step)
                if passed is not None:
                    found += _tell(device_id, event, passed, self._lasts - passed)
        return found

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del device_id
        part = min(max(since_s / self._lasts, 0.0), 1.0)
        raise_water(values, self._top * math.sin(math.pi * part) ** 2)
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self._devices]

    def _passes(self, limits: Mapping[str, Any], step: str) -> float | None:
        """Return the seconds until the rising water is clearly over a step, or None."""
        ladder = limits["level"]
        if step not in ladder:
            return None
        rise = ladder[step] - (ladder["orange"] - BELOW_WARNING_M) + _CLEARLY_M
        if rise > self._top:
            return None
        return self._lasts / math.pi * math.asin(math.sqrt(rise / self._top))


def _tell(device_id: str, event: str, passed: float, fallen: float) -> list[Cue]:
    return [
        Cue(passed, device_id),
        Cue(passed + 0.2, device_id, event, on=True, metrics=("level",)),
        Cue(fallen + _EVERY_S, device_id, event, on=False, metrics=("level",)),
    ]


def _choose(
    kind: str,
    devices: Sequence[CityDevice],
    target: str,
    parameters: Mapping[str, float],
    chance: np.random.Generator,
) -> tuple[str, Sequence[CityDevice]]:
    """Take stations that have a warning level of their own."""
    able = [device for device in devices if "orange" in device.limits.get("level", {})]
    if not able:
        raise NotFoundError("no station here has a warning level of its own")
    return choose_devices(kind, able, target, parameters, chance)


RIVER_RISING: Final = Scene(
    name="river_rising",
    label=Text("河水上涨", "River rising"),
    about=Text(
        "水位越过警戒和保证水位后回落，每分钟上报",
        "the level climbs past warning and guarantee and falls again, a report a minute",
    ),
    cause="flood",
    kind="water_gauge",
    severity=Severity.RED,
    lasts_s=1800,
    choose=_choose,
    act=_Flood,
    parameters={"count": 1, "rise": 2.6},
    must=(
        {"rule": "level_ladder", "on": "device", "count": 1, "severity": "red"},
        {"rule": "rise_rate", "on": "device"},
    ),
    must_not=(
        {"rule": "level_ladder", "on": "device", "count": 2},
        {"rule": "offline", "on": "device"},
    ),
    mendable=False,
)
