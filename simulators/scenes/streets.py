"""What befalls those who clean streets: streets left out, tunnels, and a call for help in one.

The first segments that somebody enters after the scene has begun are the ones that it befalls, on
every later round too. A vehicle that leaves a street out drives the next one to the north with its
brush up; a tunnel takes the position away, a canyon makes it jump and loses satellites.
"""

from collections.abc import Sequence
from typing import Final

from core.model import Severity, Text
from simulators.city_work import segment_at
from simulators.places import BLOCK_Y_M, to_metres, to_place
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

_CANYON_M: Final = 60.0
_DETOUR: Final = 2  # blocks to the north
_CALM_S: Final = 120.0


class _Streets:
    """Gives each device the segments that the scene befalls, as it enters them."""

    def __init__(self, cast: Cast) -> None:
        self._devices = list(cast.devices)
        self._entered: dict[str, list[str]] = {name: [] for name in cast.devices}

    def number(self, device_id: str, values: Values) -> int:
        """Return which of the segments entered so far it is on, from 0."""
        entered = self._entered[device_id]
        code = segment_at(values["lon"], values["lat"])
        if code not in entered:
            entered.append(code)
        return entered.index(code)

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return ()

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self._devices]


class _Missed(_Streets):
    def __init__(self, cast: Cast) -> None:
        super().__init__(cast)
        self._skipped = int(cast.parameters["skipped"])
        self._dry = int(cast.parameters["dry"])

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del since_s
        number = self.number(device_id, values) - 1  # the one it begins on is half done
        if 0 <= number < self._skipped + self._dry:
            values["brush"] = values["spray"] = 0.0
        if 0 <= number < self._skipped:
            x, y = to_metres(values["lon"], values["lat"])
            values["lon"], values["lat"] = to_place(x, y + _DETOUR * BLOCK_Y_M)
        return True


class _Tunnel(_Streets):
    def __init__(self, cast: Cast) -> None:
        super().__init__(cast)
        self._chance = cast.chance
        self._dark = int(cast.parameters["tunnel"])
        self._narrow = int(cast.parameters["canyon"])

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del since_s
        number = self.number(device_id, values) - 1
        if 0 <= number < self._dark:
            lose_position(values)
        elif 0 <= number < self._dark + self._narrow:
            x, y = to_metres(values["lon"], values["lat"])
            east, north = (_CANYON_M * self._chance.standard_normal(2)).tolist()
            values["lon"], values["lat"] = to_place(x + east, y + north)
            values["sats"] = 4.0
        return True


class _Call:
    """A badge without a position, whose wearer calls for help."""

    def __init__(self, cast: Cast) -> None:
        self._devices = list(cast.devices)

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return [
            cue
            for device_id in self._devices
            for cue in (Cue(_CALM_S / 2, device_id), Cue(_CALM_S, device_id, "sos", on=True))
        ]

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del device_id, since_s
        for name in ("lon", "lat"):
            values.pop(name, None)
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [
            cue
            for device_id in self._devices
            for cue in (Cue(1.0, device_id), Cue(1.2, device_id, "sos", on=False))
        ]


def lose_position(values: Values) -> None:
    """Leave out what a receiver without satellites cannot tell."""
    for name in ("lon", "lat", "course"):
        values.pop(name, None)
    values["sats"] = 0.0


STREETS_MISSED: Final = Scene(
    name="streets_missed",
    label=Text("漏扫路段", "Streets missed"),
    about=Text(
        "清扫车绕过两段路，第三段未放下扫刷；班次结束后半小时判定",
        "a sweeper leaves two segments out and passes a third with its brush up",
    ),
    cause="streets_missed",
    kind="sanitation_vehicle",
    severity=Severity.YELLOW,
    lasts_s=57_600,
    choose=choose_devices,
    act=_Missed,
    parameters={"count": 1, "skipped": 2.0, "dry": 1.0},
    must=({"rule": "route_missed", "on": "device", "count": 1, "severity": "yellow"},),
    must_not=({"rule": "sos"}, {"rule": "offline", "on": "device"}),
)

GPS_TUNNEL: Final = Scene(
    name="gps_tunnel",
    label=Text("定位隧道与城市峡谷", "Tunnel and urban canyon"),
    about=Text(
        "清扫车两段路无定位、两段路定位漂移；覆盖显示未知，不告警",
        "a sweeper loses its position on two segments and jumps on two; nothing is missed",
    ),
    cause="gps_tunnel",
    kind="sanitation_vehicle",
    severity=None,
    lasts_s=57_600,
    choose=choose_devices,
    act=_Tunnel,
    parameters={"count": 1, "tunnel": 2.0, "canyon": 2.0},
    must=(),
    must_not=(
        {"rule": "route_missed", "on": "device"},
        {"rule": "working_too_fast", "on": "device"},
        {"rule": "off_route", "on": "device"},
    ),
)

WORKER_SOS: Final = Scene(
    name="worker_sos",
    label=Text("隧道内一键求助", "Call for help in a tunnel"),
    about=Text(
        "环卫工在无定位处一键求助；应立即红色告警，附最后有效位置及其时间",
        "a worker without a position calls for help; red at once, with the last good position",
    ),
    cause="worker_sos",
    kind="sanitation_worker",
    severity=Severity.RED,
    lasts_s=900,
    choose=choose_devices,
    act=_Call,
    parameters={"count": 1},
    must=(
        {"rule": "sos", "on": "device", "count": 1, "severity": "red", "within_s": 150, "case": 1},
    ),
    must_not=({"rule": "sos", "on": "device", "count": 2}, {"rule": "section_absent"}),
)
