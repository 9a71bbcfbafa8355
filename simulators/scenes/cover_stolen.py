"""A cover is stolen: it tilts, its terminal wakes, cries once, and is never heard again.

The terminal sends one quiet row of the new attitude and the event ``cover_open``, then lies in a
lorry without a net. When the scene ends a crew has laid the cover back, and it says so.
"""

import math
from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

_AWAKE_S: Final = 2.0
GRAVITY: Final = 1000.0
"""In m[g]."""


class _Theft:
    def __init__(self, cast: Cast) -> None:
        self._devices = list(cast.devices)
        self._tilt = cast.parameters["tilt"]
        self._towards = cast.chance.random() * 2 * math.pi

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return [
            cue
            for device_id in self._devices
            for cue in (
                Cue(0.0, device_id),
                Cue(0.2, device_id, "cover_open", on=True, metrics=("tilt",)),
            )
        ]

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del device_id
        if since_s >= _AWAKE_S:
            return False
        lie_at(values, self._tilt, self._towards)
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [
            cue
            for device_id in self._devices
            for cue in (
                Cue(0.5, device_id),
                Cue(0.7, device_id, "cover_close", metrics=("tilt",)),
                Cue(_AWAKE_S, device_id),
            )
        ]


def lie_at(values: Values, tilt: float, towards: float) -> None:
    """Turn a cover by ``tilt`` degrees, towards a direction in radians; it lies still there."""
    lean = math.radians(tilt)
    values["tilt"] = max(0.0, tilt + 0.2 * (values["tilt"] - 0.8))
    values["ax"] += GRAVITY * math.sin(lean) * math.cos(towards)
    values["ay"] += GRAVITY * math.sin(lean) * math.sin(towards)
    values["az"] += GRAVITY * (math.cos(lean) - 1)
    values["gap"] += 90


COVER_STOLEN: Final = Scene(
    name="cover_stolen",
    label=Text("井盖被盗", "Cover stolen"),
    about=Text(
        "井盖翻转，终端上报一次后失联；场景结束时井盖复位",
        "a cover turns over, reports once and falls silent; at the end it is laid back",
    ),
    cause="cover_theft",
    kind="manhole_cover",
    severity=Severity.RED,
    lasts_s=1800,
    choose=choose_devices,
    act=_Theft,
    parameters={"tilt": 63.0},
    must=(
        {
            "rule": "cover_open",
            "on": "device",
            "count": 1,
            "severity": "red",
            "within_s": 30,
            "case": 1,
        },
    ),
    must_not=(
        {"rule": "cover_open", "on": "device", "count": 2},
        {"rule": "cover_open", "on": "device", "clears_by": "silence"},
        {"rule": "offline", "on": "device", "audience": "city"},
    ),
)
