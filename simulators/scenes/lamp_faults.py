"""What goes wrong with lamps, one scene a kind of fault (路灯电气故障).

A lamp is dark with its switch on, since its circuit is open or its light is dead; draws the current
of a short circuit; burns by day; loses its power factor or its insulation little by little; or goes
dark and bright by the second. When the scene ends a crew has put it right.
"""

from collections.abc import Callable, Sequence
from typing import Final

from core.model import Severity, Text
from simulators.scenes.scene import (
    Cast,
    Cue,
    Expectation,
    Light,
    Scene,
    Values,
    choose_devices,
)

Shape = Callable[[Values, float, float], None]
"""Changes what a lamp measures, by the share of the scene that is over and its ``size``."""

_FULL_W: Final = 118.0


class _Fault:
    def __init__(self, cast: Cast, change: Shape) -> None:
        self._devices = list(cast.devices)
        self._lasts = cast.lasts_s
        self._size = cast.parameters["size"]
        self._change = change

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return [Cue(0.0, device_id) for device_id in self._devices]

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del device_id
        self._change(values, min(since_s / self._lasts, 1.0), self._size)
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self._devices]


class _Flicker:
    """A lamp that goes dark and bright; it reports each change."""

    def __init__(self, cast: Cast) -> None:
        self._devices = list(cast.devices)
        self._every = cast.lasts_s / max(cast.parameters["changes"], 1.0)
        self._lasts = cast.lasts_s

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        changes = int(self._lasts / self._every)
        return [
            Cue(n * self._every, device_id) for device_id in self._devices for n in range(changes)
        ]

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del device_id
        if int((since_s + 1e-6) / self._every) % 2 == 0:
            darken(values, 0.0)
        return True

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self._devices]


def darken(values: Values, watts: float) -> None:
    """Let a lamp whose switch is on draw only so much."""
    if values["on"]:
        values["power"] = watts
        values["amp"] = watts / values["volt"] / 0.5
        values["pf"] = 0.5 if watts else 0.0


def _open(values: Values, part: float, size: float) -> None:
    del part
    darken(values, size)


def _short(values: Values, part: float, size: float) -> None:
    del part
    if values["on"]:
        values["amp"] *= size
        values["volt"] -= 25
        values["pf"] = 0.2


def _by_day(values: Values, part: float, size: float) -> None:
    del part
    values["on"], values["level"] = 1.0, 100.0
    values["power"] = max(values["power"], _FULL_W * size)
    values["amp"] = values["power"] / (values["volt"] * values["pf"])


def _decay(values: Values, part: float, size: float) -> None:
    values["pf"] -= size * part
    values["amp"] = values["power"] / (values["volt"] * values["pf"])


def _leak(values: Values, part: float, size: float) -> None:
    values["leak"] += size * part


def _scene(
    name: str,
    label: Text,
    about: Text,
    change: Shape,
    size: float,
    *,
    lasts_s: float,
    severity: Severity,
    must: Expectation,
    must_not: tuple[Expectation, ...],
    light: Light = "night",
) -> Scene:
    return Scene(
        name=name,
        label=label,
        about=about,
        cause=name,
        kind="street_lamp",
        severity=severity,
        lasts_s=lasts_s,
        choose=choose_devices,
        act=lambda cast: _Fault(cast, change),
        parameters={"count": 1, "size": size},
        must=(must,),
        must_not=must_not,
        light=light,
    )


_NO_FEEDER: Final = {"rule": "feeder_down", "on": "node"}

LAMP_FAULTS: Final = (
    _scene(
        "lamp_open",
        Text("灯具开路", "Lamp circuit open"),
        Text("夜间一盏灯开关已合而无电流", "at night a lamp is dark: its circuit is open"),
        _open,
        0.0,
        lasts_s=3600,
        severity=Severity.YELLOW,
        must={"rule": "lamp_out", "on": "device", "count": 1, "severity": "yellow"},
        must_not=(_NO_FEEDER, {"rule": "lamp_out", "on": "device", "count": 2}),
    ),
    _scene(
        "lamp_dead",
        Text("灯具不亮", "Lamp dead"),
        Text("夜间一盏灯驱动有电而不发光", "at night a lamp is dark although its driver draws"),
        _open,
        6.0,
        lasts_s=3600,
        severity=Severity.YELLOW,
        must={"rule": "lamp_out", "on": "device", "count": 1, "severity": "yellow"},
        must_not=(_NO_FEEDER, {"rule": "lamp_out", "on": "device", "count": 2}),
    ),
    _scene(
        "lamp_short",
        Text("灯具短路", "Lamp short circuit"),
        Text("一盏灯电流达到正常值的八倍", "a lamp draws eight times its own current"),
        _short,
        8.0,
        lasts_s=1800,
        severity=Severity.ORANGE,
        must={"rule": "lamp_short", "on": "device", "count": 1, "severity": "orange"},
        must_not=(_NO_FEEDER,),
    ),
    _scene(
        "lamp_by_day",
        Text("白天亮灯", "Lamp burning by day"),
        Text("一盏灯日出后仍亮", "a lamp burns on after sunrise"),
        _by_day,
        1.0,
        lasts_s=14_400,
        severity=Severity.BLUE,
        must={"rule": "lamp_day_on", "on": "device", "count": 1},
        must_not=({"rule": "feeder_day_on", "on": "node"},),
        light="day",
    ),
    _scene(
        "lamp_pf_decay",
        Text("功率因数下降", "Power factor decays"),
        Text("一盏灯功率因数逐渐下降 0.2", "a lamp's power factor falls by 0.2 little by little"),
        _decay,
        0.2,
        lasts_s=14_400,
        severity=Severity.BLUE,
        must={"rule": "lamp_pf_low", "on": "device", "count": 1, "audience": "maintenance"},
        must_not=({"rule": "lamp_out", "on": "device"},),
        light="dusk",
    ),
    _scene(
        "lamp_leak",
        Text("灯杆漏电", "Leakage at a pole"),
        Text("一盏灯漏电流逐渐升到 40 mA", "a pole's leakage grows to 40 mA"),
        _leak,
        40.0,
        lasts_s=14_400,
        severity=Severity.RED,
        must={"rule": "leakage", "on": "device", "count": 1, "severity": "red", "case": 1},
        must_not=({"rule": "leakage", "on": "device", "count": 2},),
        light="any",
    ),
)

LAMP_FLICKER: Final = Scene(
    name="lamp_flicker",
    label=Text("路灯闪烁", "Flickering lamp"),
    about=Text("一盏灯明暗变化 200 次", "a lamp goes dark and bright 200 times"),
    cause="lamp_flicker",
    kind="street_lamp",
    severity=Severity.BLUE,
    lasts_s=1000,
    choose=choose_devices,
    act=_Flicker,
    parameters={"count": 1, "changes": 200.0},
    must=({"rule": "lamp_flicker", "on": "device", "count": 1, "audience": "maintenance"},),
    must_not=(
        {"rule": "lamp_out", "on": "device", "case": 1},
        {"rule": "lamp_flicker", "on": "device", "count": 3},
    ),
    light="night",
)
