"""A cover rocks: it comes loose in its frame and knocks under every wheel, but lies where it lay.

For the first half of the time lorries shake it as ever, then each shock is three times as strong.
"""

from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.scenes.lorries import Traffic
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

_LOOSE: Final = 0.5  # share of the time after which it is loose


class _Rocking:
    def __init__(self, cast: Cast) -> None:
        self._traffic = Traffic(cast)
        self._loose_s = _LOOSE * cast.lasts_s
        self._times = cast.parameters["times"]

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return self._traffic.cues()

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        times = self._times if since_s >= self._loose_s else 1.0
        return self._traffic.shape(device_id, since_s, values, times=times)

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return ()


COVER_ROCKING: Final = Scene(
    name="cover_rocking",
    label=Text("井盖松动", "Cover rocking"),
    about=Text(
        "井盖松动，车辆经过时震动逐渐加剧，但姿态不变",
        "a cover comes loose: shocks under traffic grow while it lies where it lay",
    ),
    cause="loose_cover",
    kind="manhole_cover",
    severity=Severity.BLUE,
    lasts_s=3600,
    choose=choose_devices,
    act=_Rocking,
    parameters={"count": 1, "shocks": 160, "shock": 200.0, "row": 0.1, "times": 3.0},
    must=({"rule": "cover_rocking", "on": "device", "count": 1},),
    must_not=({"rule": "cover_open"}, {"rule": "cover_shift"}, {"rule": "cover_settling"}),
)
