"""Gauges that tell lies: frozen while the river rises, in centimetres, spiking, drifting.

What a sensor does wrong must reach maintainers, and never the city as a flood.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from core.errors import NotFoundError
from core.model import Severity, Text
from simulators.city_devices import CityDevice
from simulators.hydrology import waters
from simulators.physics.water import raise_water
from simulators.scenes.scene import Cast, Cue, Scene, Values, choose_devices

_NO_FLOOD: Final = (
    {"rule": "level_ladder", "on": "node"},
    {"rule": "rise_rate", "on": "node"},
)


class _Fault:
    """What all have in common: they change what is measured and send nothing besides."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast

    def cues(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.cues`."""
        return ()

    def closing(self) -> Sequence[Cue]:
        """See :meth:`simulators.scenes.scene.Act.closing`."""
        return [Cue(1.0, device_id) for device_id in self.cast.devices]


class _Frozen(_Fault):
    """The node repeats its first row; its neighbours rise and fall as a sine."""

    def __init__(self, cast: Cast) -> None:
        super().__init__(cast)
        self._first: dict[str, float] = {}

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        if device_id != self.cast.node:
            part = min(max(since_s / self.cast.lasts_s, 0.0), 1.0)
            raise_water(values, self.cast.parameters["rise"] * float(np.sin(np.pi * part)) ** 2)
            return True
        for name in ("level", "depth", "flow", "vel"):
            values[name] = self._first.setdefault(name, values[name])
        return True


class _Slip(_Fault):
    """Firmware tells centimetres where metres belong."""

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del device_id, since_s
        values["level"] *= self.cast.parameters["factor"]
        return True


class _Spikes(_Fault):
    """Now and then one row is off by a metre or two, and the next one is right again."""

    def __init__(self, cast: Cast) -> None:
        super().__init__(cast)
        count = int(cast.parameters["spikes"])
        places = cast.lasts_s * (np.arange(count) + 0.2 + 0.6 * cast.chance.random(count)) / count
        sizes = cast.parameters["height"] * (0.6 + cast.chance.random(count))
        signs = cast.chance.choice([-1.0, 1.0], count)
        self._waiting = list(zip(places.tolist(), (sizes * signs).tolist(), strict=True))

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        if device_id == self.cast.node and self._waiting and since_s >= self._waiting[0][0]:
            values["level"] += self._waiting.pop(0)[1]
        return True


class _Drift(_Fault):
    """Fouling: the sensor creeps away along a line, and is cleaned in the end."""

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """See :meth:`simulators.scenes.scene.Act.shape`."""
        del device_id
        part = min(max(since_s / self.cast.lasts_s, 0.0), 1.0)
        values["level"] += self.cast.parameters["size"] * part
        return True


def _with_neighbours(
    kind: str,
    devices: Sequence[CityDevice],
    target: str,
    parameters: Mapping[str, float],
    chance: np.random.Generator,
) -> tuple[str, Sequence[CityDevice]]:
    """Take a gauge and those next to it on the river."""
    gauges = waters(devices).gauges
    node, _ = choose_devices(kind, devices, target, parameters, chance)
    beside = [
        other
        for one, two in pairwise(gauges)
        for this, other in ((one, two), (two, one))
        if this.device_id == node
    ]
    if not beside:
        raise NotFoundError(f"{node} has no neighbour on the river")
    chosen = [gauge for gauge in gauges if gauge.device_id == node]
    return node, [*chosen, *beside]


GAUGE_FROZEN: Final = Scene(
    name="gauge_frozen",
    label=Text("水位计冻结", "Gauge frozen"),
    about=Text(
        "一处水位计读数冻结，上下游水位正在上涨",
        "one gauge repeats itself while the river rises above and below it",
    ),
    cause="sensor",
    kind="water_gauge",
    severity=Severity.BLUE,
    lasts_s=7_200,
    choose=_with_neighbours,
    act=_Frozen,
    parameters={"rise": 1.2},
    must=({"rule": "frozen", "on": "node", "count": 1, "audience": "maintenance"},),
    must_not=(*_NO_FLOOD, {"rule": "drift", "on": "node"}),
)
GAUGE_UNIT_SLIP: Final = Scene(
    name="gauge_unit_slip",
    label=Text("水位单位错误", "Gauge in centimetres"),
    about=Text(
        "固件升级后水位以厘米上报，数值为原来的 100 倍",
        "after an update a gauge reports centimetres: a hundred times its level",
    ),
    cause="firmware",
    kind="water_gauge",
    severity=Severity.BLUE,
    lasts_s=3_600,
    choose=choose_devices,
    act=_Slip,
    parameters={"factor": 100.0},
    must=({"rule": "payload_invalid", "on": "node", "count": 1, "audience": "maintenance"},),
    must_not=(*_NO_FLOOD, {"rule": "frozen", "on": "node"}),
)
GAUGE_SPIKES: Final = Scene(
    name="gauge_spikes",
    label=Text("水位突跳", "Gauge spiking"),
    about=Text(
        "水位计偶发单次突跳；不应产生任何告警",
        "now and then one row of a gauge is far off; nothing may be raised",
    ),
    cause="sensor",
    kind="water_gauge",
    severity=None,
    lasts_s=14_400,
    choose=choose_devices,
    act=_Spikes,
    parameters={"spikes": 12, "height": 1.2},
    must=(),
    must_not=(*_NO_FLOOD, {"rule": "frozen", "on": "node"}),
)
GAUGE_DRIFT: Final = Scene(
    name="gauge_drift",
    label=Text("水位计漂移", "Gauge drifting"),
    about=Text(
        "传感器污损，两天内缓慢漂移后被清洗；单站只能存疑，不应产生洪水告警",
        "a fouled sensor creeps away over two days and is cleaned; alone it is only suspect, and "
        "never a flood",
    ),
    cause="fouling",
    kind="water_gauge",
    severity=Severity.BLUE,
    lasts_s=180_000,
    choose=choose_devices,
    act=_Drift,
    parameters={"size": 0.3},
    must=(),
    must_not=(*_NO_FLOOD, {"rule": "frozen", "on": "node"}),
)
