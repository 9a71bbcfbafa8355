"""A cover settles: the ground under one side of its frame gives way, slowly, over hours.

When the scene ends a crew has laid the frame anew.
"""

import math
from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.scenes.cover_stolen import GRAVITY
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

_DONE: Final = 0.7  # share of the time after which it settles no more
_GAP_MM: Final = 1.5  # of gap to the frame for each degree


class _Settling:
    def __init__(self, cast: Cast) -> None:
        self._lasts = cast.lasts_s
        self._degrees = cast.parameters["degrees"]
        self._towards = {name: 2 * math.pi * cast.chance.random() for name in sorted(cast.devices)}

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return ()

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        part = min(max(since_s / (_DONE * self._lasts), 0.0), 1.0)
        lean, towards = math.radians(part * self._degrees), self._towards[device_id]
        values["tilt"] = max(0.0, values["tilt"] + part * self._degrees)
        values["ax"] += GRAVITY * math.sin(lean) * math.cos(towards)
        values["ay"] += GRAVITY * math.sin(lean) * math.sin(towards)
        values["az"] += GRAVITY * (math.cos(lean) - 1)
        values["gap"] += _GAP_MM * part * self._degrees
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return ()


COVER_SETTLING: Final = Scene(
    name="cover_settling",
    label=Text("井盖沉降", "Cover settling"),
    about=Text(
        "井座一侧缓慢下沉数度；场景结束时已重新安装",
        "one side of the frame gives way by some degrees over hours; at the end it is laid anew",
    ),
    cause="settling",
    kind="manhole_cover",
    severity=Severity.YELLOW,
    lasts_s=8 * 3600,
    choose=choose_devices,
    act=_Settling,
    parameters={"count": 1, "degrees": 4.0},
    must=({"rule": "cover_settling", "on": "device", "count": 1, "severity": "yellow"},),
    must_not=(
        {"rule": "cover_open"},
        {"rule": "cover_settling", "on": "device", "count": 2},
        {"rule": "offline", "on": "device"},
    ),
)
