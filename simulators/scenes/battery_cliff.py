"""Batteries of covers end in the cold: a long flat, a slow fall, and a cliff (电池悬崖).

``V = 3.6 - 0.1 (cold) - 0.5 · t/T``, and over the last tenth another volt: what a lithium cell does
that was flat for years. The air under the covers is at -15 Cel.
"""

from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

_COLD_V: Final = 0.1
_FALL_V: Final = 0.5
_CLIFF: Final = 0.9
_CLIFF_V: Final = 1.0
_AIR_CEL: Final = -15.0
_REST_CEL: Final = 15.0


class _Cliff:
    def __init__(self, cast: Cast) -> None:
        self._devices = list(cast.devices)
        self._lasts = cast.lasts_s

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return ()

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del device_id
        part = min(since_s / self._lasts, 1.0)
        cliff = max(0.0, part - _CLIFF) / (1 - _CLIFF)
        values["batt"] -= _COLD_V + _FALL_V * part + _CLIFF_V * cliff
        values["temp"] += _AIR_CEL - _REST_CEL
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self._devices]


BATTERY_CLIFF: Final = Scene(
    name="battery_cliff",
    label=Text("低温电池悬崖", "Battery cliff in the cold"),
    about=Text(
        "30 个井盖终端在 -15 ℃ 电压缓降后骤降；应提前数天提示电量低",
        "30 covers' batteries fall slowly, then steeply, at -15 Cel; told days ahead",
    ),
    cause="battery_end",
    kind="manhole_cover",
    severity=Severity.BLUE,
    lasts_s=864_000,
    choose=choose_devices,
    act=_Cliff,
    parameters={"count": 30},
    must=({"rule": "battery_low", "on": "device", "audience": "maintenance"},),
    must_not=(
        {"rule": "battery_low", "audience": "city"},
        {"rule": "cover_open"},
        {"rule": "cover_shift"},
    ),
)
