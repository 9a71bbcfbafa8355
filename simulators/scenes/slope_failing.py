"""A slope fails: it creeps, jumps after rain and comes to rest, then goes ever faster till it goes.

The jump comes after a fifth of the time, the acceleration begins after two fifths and ends with the
failure, a little before the scene does; from then on the point is silent. When the scene ends a new
point has been set and starts from zero. It takes weeks: play it in virtual time.
"""

import math
from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.physics.ground import accelerate, relax
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

DAY_S: Final = 86_400.0
_RAIN, _ONSET, _FAILURE = 0.2, 0.4, 0.97  # shares of the time
_RELAXES_D: Final = 1.5
_DIP: Final = 0.5  # mm down for each mm along


class _Failing:
    def __init__(self, cast: Cast) -> None:
        self._lasts_d = cast.lasts_s / DAY_S
        self._parameters = cast.parameters
        self._towards = {name: 2 * math.pi * cast.chance.random() for name in sorted(cast.devices)}

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return ()

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        day, lasts = since_s / DAY_S, self._lasts_d
        if day >= _FAILURE * lasts:
            return False
        chosen = self._parameters
        moved = chosen["creep"] * day + relax(day - _RAIN * lasts, chosen["rain"], _RELAXES_D)
        moved += accelerate(day - _ONSET * lasts, chosen["size"], (_FAILURE - _ONSET) * lasts)
        slide(values, float(moved), self._towards[device_id])
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self._towards]


def slide(values: Values, moved: float, towards: float) -> None:
    """Move a point by some mm down its slope, towards a direction in radians from east."""
    values["east"] += moved * math.cos(towards)
    values["north"] += moved * math.sin(towards)
    values["up"] -= moved * _DIP


SLOPE_FAILING: Final = Scene(
    name="slope_failing",
    label=Text("坝坡失稳", "Slope failing"),
    about=Text(
        "坝坡蠕动、雨后阶跃，随后加速直至失稳；须提前至少两天红色预警",
        "a slope creeps, jumps after rain, then accelerates until it fails; red two days ahead",
    ),
    cause="slope_failure",
    kind="displacement_point",
    severity=Severity.RED,
    lasts_s=75 * DAY_S,
    choose=choose_devices,
    act=_Failing,
    parameters={"count": 1, "creep": 0.3, "rain": 12.0, "size": 45.0},
    must=(
        {
            "rule": "slope_acceleration",
            "on": "device",
            "count": 1,
            "severity": "red",
            "within_s": (75 * _FAILURE - 2) * DAY_S,
        },
    ),
    must_not=({"rule": "slope_acceleration", "on": "device", "count": 2},),
)
