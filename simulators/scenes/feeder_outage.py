"""A feeder trips: its lamps are dark, and silent, since their controllers hang on the same cable.

When it is back every controller starts, says ``power_on`` and reports, spread over half a minute.
"""

from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_members

_BACK_S: Final = 30.0


class _Outage:
    def __init__(self, cast: Cast) -> None:
        self._devices = list(cast.devices)

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return ()

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del device_id, since_s, values
        return False

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        step = _BACK_S / max(len(self._devices), 1)
        return [
            cue
            for index, device_id in enumerate(self._devices)
            for cue in (
                Cue(1 + index * step, device_id, "power_on"),
                Cue(1.2 + index * step, device_id),
            )
        ]


FEEDER_OUTAGE: Final = Scene(
    name="feeder_outage",
    label=Text("路灯回路失电", "Feeder outage"),
    about=Text(
        "一条路灯回路跳闸，全部路灯熄灭并失联，随后恢复",
        "a feeder trips, all its lamps are dark and silent, and come back",
    ),
    cause="feeder_trip",
    kind="street_lamp",
    severity=Severity.ORANGE,
    lasts_s=900,
    choose=choose_members("feeder"),
    act=_Outage,
    must=({"rule": "feeder_down", "on": "node", "count": 1, "severity": "orange"},),
    must_not=(
        {"rule": "lamp_out", "on": "device", "notified": True},
        {"rule": "offline", "on": "device", "notified": True},
    ),
)
