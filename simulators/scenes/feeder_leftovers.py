"""A feeder trips and is back, but some lamps stay dark (遗留): their drivers did not survive."""

from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.scenes.lamp_faults import darken
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_members

_BACK_S: Final = 30.0


class _Leftovers:
    def __init__(self, cast: Cast) -> None:
        self._devices = list(cast.devices)
        self._outage = min(cast.parameters["outage"], cast.lasts_s / 2)
        count = min(int(cast.parameters["left"]), len(self._devices))
        picked = cast.chance.choice(sorted(self._devices), count, replace=False)
        self.left = frozenset(str(name) for name in picked)

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        step = _BACK_S / max(len(self._devices), 1)
        return [
            cue
            for index, device_id in enumerate(self._devices)
            for cue in (
                Cue(self._outage + 1 + index * step, device_id, "power_on"),
                Cue(self._outage + 1.2 + index * step, device_id),
            )
        ]

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        if since_s < self._outage:
            return False
        if device_id in self.left:
            darken(values, 0.0)
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self._devices]


FEEDER_LEFTOVERS: Final = Scene(
    name="feeder_leftovers",
    label=Text("回路恢复后遗留灭灯", "Feeder back, lamps left dark"),
    about=Text(
        "一条路灯回路跳闸后恢复，其中两盏灯仍不亮",
        "a feeder trips and is back, and two of its lamps stay dark",
    ),
    cause="feeder_trip_leftovers",
    kind="street_lamp",
    severity=Severity.ORANGE,
    lasts_s=3600,
    choose=choose_members("feeder"),
    act=_Leftovers,
    parameters={"outage": 900.0, "left": 2.0},
    must=(
        {"rule": "feeder_down", "on": "node", "count": 1, "severity": "orange"},
        {"rule": "lamp_out", "on": "device", "count": 2},
    ),
    must_not=(
        {"rule": "lamp_out", "on": "device", "count": 3},
        {"rule": "offline", "on": "device", "notified": True},
    ),
    light="night",
)
