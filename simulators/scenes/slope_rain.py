"""Rain on a slope: it jumps, comes to rest within days, jumps again, and never accelerates.

Whoever judges by the speed of the last days alone calls each of the jumps a failure to come.
"""

import math
from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.physics.ground import relax
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices
from simulators.scenes.slope_failing import DAY_S, slide

_LEAST_D, _MOST_D = 0.3, 3.0  # relaxation times


class _Rain:
    def __init__(self, cast: Cast) -> None:
        chance, chosen = cast.chance, cast.parameters
        lasts_d = cast.lasts_s / DAY_S
        self._creep = chosen["creep"]
        self._steps = [
            (
                lasts_d * chance.random(),
                chosen["rain"] * (0.5 + chance.random()),
                _LEAST_D + (_MOST_D - _LEAST_D) * chance.random(),
            )
            for _ in range(int(chosen["steps"]))
        ]
        self._towards = {name: 2 * math.pi * chance.random() for name in sorted(cast.devices)}

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return ()

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        day = since_s / DAY_S
        moved = self._creep * day
        moved += sum(relax(day - begin, size, tau) for begin, size, tau in self._steps)
        slide(values, float(moved), self._towards[device_id])
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self._towards]


SLOPE_RAIN: Final = Scene(
    name="slope_rain",
    label=Text("雨后坝坡阶跃", "Rain steps of a slope"),
    about=Text(
        "坝坡在几场雨后阶跃并趋于稳定，没有加速；不应预警失稳",
        "a slope jumps after each rain and comes to rest; no failure may be warned of",
    ),
    cause="rain_on_slope",
    kind="displacement_point",
    severity=Severity.YELLOW,
    lasts_s=75 * DAY_S,
    choose=choose_devices,
    act=_Rain,
    parameters={"count": 2, "creep": 0.3, "rain": 15.0, "steps": 4},
    must=(),
    must_not=({"rule": "slope_acceleration"},),
)
