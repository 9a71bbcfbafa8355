"""A gateway dies: none of its devices is heard, and none of them is at fault."""

from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_members

_BACK_S: Final = 20.0


class _Silence:
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
        return [Cue(1 + index * step, name) for index, name in enumerate(self._devices)]


GATEWAY_SILENT: Final = Scene(
    name="gateway_silent",
    label=Text("网关失联", "Gateway silent"),
    about=Text(
        "一个网关失联，其下井盖全部收不到数据，随后恢复",
        "a gateway dies, none of its covers is heard, and it comes back",
    ),
    cause="gateway_dead",
    kind="manhole_cover",
    severity=Severity.YELLOW,
    lasts_s=900,
    choose=choose_members("gateway"),
    act=_Silence,
    must=({"rule": "gateway_offline", "on": "node", "count": 1, "audience": "maintenance"},),
    must_not=(
        {"rule": "offline", "on": "device", "notified": True},
        {"rule": "gateway_offline", "audience": "city"},
    ),
)
