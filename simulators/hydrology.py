"""How water runs through the schematic city: rain, then the dam, then gauge by gauge, then covers.

The river flows from west to east, so its gauges follow each other by longitude; the first stands
at the check dam (淤地坝). Rain runs off to the next gauge below it. Low-lying covers are those
nearest to the river.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from simulators.city_devices import CityDevice
from simulators.places import to_metres

LOW_M: Final = 450.0
"""So near to a gauge a cover is low-lying; ours."""
LOW_COVERS: Final = 3
"""So many covers a reach at most."""


@dataclass(frozen=True, slots=True)
class Link:
    """The child follows from the parent.

    Attributes:
        child: Device id.
        parent: Likewise.
        kind: ``hydrology``.
        effect: ``link``: shown together, nothing is hidden.
    """

    child: str
    parent: str
    kind: str = "hydrology"
    effect: str = "link"


@dataclass(frozen=True, slots=True)
class Waters:
    """Whose water goes where.

    Attributes:
        gauges: Down the river; the first is the dam's.
        rains: Rain gauges, each with the place of the gauge that its rain reaches first.
        covers: Low-lying covers, each with the place of its gauge.
    """

    gauges: list[CityDevice]
    rains: list[tuple[CityDevice, int]]
    covers: list[tuple[CityDevice, int]]

    def links(self) -> list[Link]:
        """Return them as edges of the topology."""
        ids = [gauge.device_id for gauge in self.gauges]
        return [
            *(Link(below, above) for above, below in pairwise(ids)),
            *(Link(ids[place], rain.device_id) for rain, place in self.rains),
            *(Link(cover.device_id, ids[place]) for cover, place in self.covers),
        ]


def waters(devices: Sequence[CityDevice]) -> Waters:
    """Find the waters of a city by where its devices stand."""
    gauges = sorted((d for d in devices if d.kind == "water_gauge"), key=lambda d: d.lon)
    if not gauges:
        return Waters([], [], [])
    rains = [
        (device, next((n for n, gauge in enumerate(gauges) if gauge.lon >= device.lon), -1))
        for device in devices
        if device.kind == "rain_gauge"
    ]
    near: list[list[tuple[float, str, CityDevice]]] = [[] for _ in gauges]
    for device in devices:
        if device.kind == "manhole_cover":
            away = [_metres(device, gauge) for gauge in gauges]
            place = away.index(min(away))
            if away[place] <= LOW_M:
                near[place].append((away[place], device.device_id, device))
    covers = [
        (device, place)
        for place, found in enumerate(near)
        for _, _, device in sorted(found)[:LOW_COVERS]
    ]
    last = len(gauges) - 1
    return Waters(gauges, [(rain, place % (last + 1)) for rain, place in rains], covers)


def _metres(one: CityDevice, other: CityDevice) -> float:
    (x, y), (u, v) = to_metres(one.lon, one.lat), to_metres(other.lon, other.lat)
    return math.hypot(x - u, y - v)
