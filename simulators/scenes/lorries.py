"""Lorries shake covers: bursts of 0.2 to 1 s with shocks up to 500 mg, and nothing is wrong.

The terminal wakes, sends a row every ``row`` seconds while it shakes, and one at rest. Shocks are
stronger up and down than sideways, and swing about rest: after a burst the cover lies exactly as
before. Accelerations are raw, so their angle is up to 30° off, some of them at the norm of a quiet
row; the terminal's own ``tilt`` is smoothed over its second awake and moves by a tenth of that.
Whoever believes the angle of a row that shakes will alarm.
"""

import math
from collections.abc import Sequence
from typing import Final

from core.model import Text
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

_LEAST_S, _MOST_S = 0.2, 1.0
_LEAST_MG: Final = 50.0
_SIDEWAYS: Final = 0.5
_PAUSE_S: Final = 5.0
_REST_S: Final = 0.5
_SMOOTHED: Final = 0.1


class Traffic:
    """Bursts spread over the time at random, with a pause between two on one cover.

    Args:
        cast: Who plays; ``shocks``, ``shock`` and ``row`` of its parameters are taken.
    """

    def __init__(self, cast: Cast) -> None:
        chance = cast.chance
        self._chance = chance
        self._most = cast.parameters["shock"]
        self._row_s = cast.parameters["row"]
        shocks = max(len(cast.devices), int(cast.parameters["shocks"]))
        devices = sorted(cast.devices)
        begins = sorted((chance.random(shocks) * max(cast.lasts_s - _MOST_S, 0.0)).tolist())
        whom = chance.integers(len(devices), size=shocks).tolist()
        self._bursts: dict[str, list[tuple[float, float]]] = {name: [] for name in devices}
        for begin, index in zip(begins, whom, strict=True):
            bursts = self._bursts[devices[index]]
            if bursts and begin < bursts[-1][1] + _PAUSE_S:
                continue
            bursts.append((begin, begin + _LEAST_S + (_MOST_S - _LEAST_S) * chance.random()))

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        found = []
        for device_id, bursts in self._bursts.items():
            for begin, end in bursts:
                rows = 1 + int((end - begin) / self._row_s)
                found += [Cue(begin + row * self._row_s, device_id) for row in range(rows)]
                found.append(Cue(end + _REST_S, device_id))
        return found

    def shape(self, device_id: str, since_s: float, values: Values, *, times: float = 1.0) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`; shocks are ``times`` as strong."""
        bursts = self._bursts[device_id]
        if any(begin - 1e-6 <= since_s < end for begin, end in bursts):
            x, y, z = self._push()
            shake(values, times * x, times * y, times * z)
        return True

    def _push(self) -> tuple[float, float, float]:
        """Return one shock in m[g], at most ``shock`` long."""
        chance = self._chance
        x, y, z = chance.standard_normal(3).tolist()
        x, y = x * _SIDEWAYS, y * _SIDEWAYS
        size = _LEAST_MG + (self._most - _LEAST_MG) * chance.random()
        scale = size / max(math.sqrt(x * x + y * y + z * z), 1e-9)
        return x * scale, y * scale, z * scale

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return ()


def shake(values: Values, x: float, y: float, z: float) -> None:
    """Add a shock to a cover's accelerations, in m[g], and what its own tilt makes of it."""
    rest = (values["ax"], values["ay"], values["az"])
    shaken = (rest[0] + x, rest[1] + y, rest[2] + z)
    cosine = sum(a * b for a, b in zip(rest, shaken, strict=True))
    cosine /= math.hypot(*rest) * math.hypot(*shaken)
    values["ax"], values["ay"], values["az"] = shaken
    values["tilt"] += _SMOOTHED * math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
    values["shock"] += 1


LORRIES: Final = Scene(
    name="lorries",
    label=Text("重车驶过井盖", "Lorries over covers"),
    about=Text(
        "重车反复碾压井盖，震动最大 500 mg；不应产生任何告警",
        "lorries shake covers with up to 500 mg; nothing may be raised",
    ),
    cause="traffic",
    kind="manhole_cover",
    severity=None,
    lasts_s=600,
    choose=choose_devices,
    act=Traffic,
    parameters={"count": 20, "shocks": 200, "shock": 500.0, "row": 0.1},
    must=(),
    must_not=({"rule": "cover_open"}, {"rule": "cover_shift"}, {"rule": "cover_settling"}),
)
