"""The devices of the schematic city: ids, places, gateways, feeders, limits, intervals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from devices import KINDS
from simulators import places
from simulators.chance import generator, share
from simulators.city_parts import Component, ComponentMaker, street_places
from simulators.physics.water import BELOW_WARNING_M

FLEET: Final = {
    "manhole_cover": 200,
    "street_lamp": 500,
    "sanitation_vehicle": 300,
    "sanitation_worker": 1500,
    "water_gauge": 20,
    "displacement_point": 12,
    "rain_gauge": 6,
    "video_endpoint": 50,
}
"""How many of each kind the city has; further kinds: two, so that a new one is seen at once."""
DEMO_INTERVALS: Final = {
    "manhole_cover": 60.0,
    "street_lamp": 60.0,
    "sanitation_worker": 30.0,
    "water_gauge": 60.0,
}
"""Seconds between two reports where the demo's devices are more talkative than real ones."""
COVERS_A_GATEWAY: Final = 40
LAMPS_A_GATEWAY: Final = 50
LONG_FEEDER: Final = 60
"""Lamps on the seventh feeder, the one the scene ``feeder_outage`` takes by default."""
_LONG_FEEDER_NO: Final = 7
_LAMP_STEP_M: Final = 33.0
_DAMS: Final = 3
_CREST_STEP_M: Final = 30.0
_COVERS: Final = {
    "0102": 0.35,
    "0103": 0.30,
    "0101": 0.10,
    "0107": 0.10,
    "0105": 0.05,
    "0110": 0.05,
    "0111": 0.05,
}
_OWNERS: Final = {
    "sanitation_vehicle": "sanitation",
    "sanitation_worker": "sanitation",
    "water_gauge": "water",
    "displacement_point": "water",
    "rain_gauge": "water",
    "video_endpoint": "city-management",
}


@dataclass(frozen=True, slots=True)
class CityDevice:
    """A device to be registered and simulated; the fields of ``devices.registry.Device``.

    A device with an ``interval_s`` of its own keeps it, busy or idle.
    """

    device_id: str
    kind: str
    name: str
    lon: float
    lat: float
    grid_code: str = ""
    dept_code: str = ""
    component_code: str = ""
    gateway: str = ""
    feeder: str = ""
    interval_s: float | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)


def build_devices(
    seed: int,
    maker: ComponentMaker,
    *,
    scale: float = 1.0,
    intervals: Mapping[str, float] | None = None,
) -> list[CityDevice]:
    """Build all devices, virtual ones first; their components go to ``maker``."""
    pace = DEMO_INTERVALS if intervals is None else intervals
    found: list[CityDevice] = []
    for kind in KINDS:
        count = max(1, round(FLEET.get(kind, 2) * scale))
        match kind:
            case "manhole_cover":
                found += _covers(seed, maker, count, pace.get(kind))
            case "street_lamp":
                found += _lamps(maker, count, pace.get(kind))
            case _:
                found += _others(seed, maker, kind, count, pace.get(kind))
    return sorted(found, key=lambda device: device.kind in KINDS)


def _device_id(kind: str, number: int) -> str:
    return f"sim-{KINDS[kind].id_prefix}-{number:04}"


def _on(component: Component, device_id: str, kind: str, **more: Any) -> CityDevice:
    """Return the device that watches a component."""
    return CityDevice(
        device_id,
        kind,
        f"{component.name} {device_id[-4:]}",
        component.lon,
        component.lat,
        component.grid_code,
        component.dept_code,
        component.component_code,
        **more,
    )


def _virtual(
    maker: ComponentMaker, device_id: str, kind: str, name: str, members: list[CityDevice]
) -> CityDevice:
    """Return a gateway or feeder; it stands where the middle one of its members does."""
    middle = members[len(members) // 2]
    return CityDevice(
        device_id,
        kind,
        name,
        middle.lon,
        middle.lat,
        maker.cell(middle.lon, middle.lat),
        "lighting" if kind == "feeder" else "city-management",
    )


def _covers(
    seed: int, maker: ComponentMaker, count: int, interval: float | None
) -> list[CityDevice]:
    chance = generator(seed, "city", "manhole_cover", "place")
    spots = sorted(street_places(chance, count))  # neighbours share a gateway
    codes = chance.choice(list(_COVERS), count, p=list(_COVERS.values()))
    gateways = math.ceil(count / COVERS_A_GATEWAY)
    covers = [
        _on(
            maker.make(str(code), *spot),
            _device_id("manhole_cover", number + 1),
            "manhole_cover",
            gateway=f"sim-GW-{1 + number // COVERS_A_GATEWAY:02}",
            interval_s=interval,
        )
        for number, (code, spot) in enumerate(zip(codes, spots, strict=True))
    ]
    return covers + _gateways(maker, covers, first=1, count=gateways)


def _gateways(
    maker: ComponentMaker, devices: list[CityDevice], *, first: int, count: int
) -> list[CityDevice]:
    found = []
    for number in range(first, first + count):
        gateway = f"sim-GW-{number:02}"
        members = [device for device in devices if device.gateway == gateway]
        found.append(_virtual(maker, gateway, "gateway", f"网关 GW-{number:02}", members))
    return found


def feeder_sizes(lamps: int) -> list[int]:
    """Return how many lamps are on each feeder: about 40, on the seventh 60.

    >>> feeder_sizes(500), feeder_sizes(30)
    ([40, 40, 40, 40, 40, 40, 60, 40, 40, 40, 40, 40], [30])
    """
    feeders = max(1, (lamps - LONG_FEEDER) // 40 + 1)
    long = LONG_FEEDER if feeders >= _LONG_FEEDER_NO else 0
    others = feeders - (1 if long else 0)
    sizes = [
        (lamps - long) * (index + 1) // others - (lamps - long) * index // others
        for index in range(others)
    ]
    if long:
        sizes.insert(_LONG_FEEDER_NO - 1, long)
    return sizes


def _lamps(maker: ComponentMaker, count: int, interval: float | None) -> list[CityDevice]:
    """Return lamps, a street a feeder, 33 m apart; a gateway spans the end of a feeder."""
    lamps: list[CityDevice] = []
    feeders: list[CityDevice] = []
    covers_gateways = math.ceil(FLEET["manhole_cover"] / COVERS_A_GATEWAY)
    for index, size in enumerate(feeder_sizes(count)):
        feeder = f"sim-FD-{index + 1:02}"
        street = (2 + 2 * index) * places.BLOCK_Y_M % places.HEIGHT_M
        for along in range(size):
            number = len(lamps) + 1
            x = places.WIDTH_M * (0.1 + 0.05 * (index % 5)) + along * _LAMP_STEP_M
            spot = places.to_place(x, street + (8 if along % 2 else -8))
            lamps.append(
                _on(
                    maker.make("0118", *spot),
                    _device_id("street_lamp", number),
                    "street_lamp",
                    gateway=f"sim-GW-{covers_gateways + 1 + (number - 1) // LAMPS_A_GATEWAY:02}",
                    feeder=feeder,
                    interval_s=interval,
                )
            )
        name = f"路灯回路 L-{index + 1:02}"
        feeders.append(_virtual(maker, feeder, "feeder", name, lamps[-size:]))
    first, gateways = covers_gateways + 1, math.ceil(count / LAMPS_A_GATEWAY)
    return lamps + feeders + _gateways(maker, lamps, first=first, count=gateways)


def _others(
    seed: int, maker: ComponentMaker, kind: str, count: int, interval: float | None
) -> list[CityDevice]:
    label = KINDS[kind].label.zh
    if kind == "water_gauge":
        spots = [places.river((number + 0.5) / count) for number in range(count)]
    elif kind == "displacement_point":
        spots = _on_dams(count)
    else:
        spots = street_places(generator(seed, "city", kind, "place"), count)
    found = []
    for number, (lon, lat) in enumerate(spots, start=1):
        device_id = _device_id(kind, number)
        class_code = KINDS[kind].class_code
        if class_code:
            component = maker.make(class_code, lon, lat)
            found.append(_on(component, device_id, kind, interval_s=interval))
            continue
        found.append(
            CityDevice(
                device_id,
                kind,
                f"{label} {number:04}",
                lon,
                lat,
                maker.cell(lon, lat),
                _OWNERS.get(kind, "city-management"),
                interval_s=interval,
                limits=_limits(seed, kind, device_id),
            )
        )
    return found


def _on_dams(count: int) -> list[tuple[float, float]]:
    """Return places along the crests of three check dams (淤地坝) across the river, 30 m apart."""
    found = []
    for number in range(count):
        x, y = places.to_metres(*places.river(0.2 + 0.3 * (number % _DAMS)))
        found.append(places.to_place(x, y + _CREST_STEP_M * (number // _DAMS)))
    return found


def _limits(seed: int, kind: str, device_id: str) -> dict[str, dict[str, float]]:
    """Return the limits of a device's own, where its kind leaves them to the place."""
    match kind:
        case "water_gauge":
            return _station(seed, device_id)
        case "displacement_point":
            return {"dam_displacement": {"yellow": 10.0, "orange": 20.0, "red": 50.0}}
        case _:
            return {}


def _station(seed: int, device_id: str) -> dict[str, dict[str, float]]:
    """Return the ladder of a station: flood limit 汛限, warning 警戒, guarantee 保证 in metres."""
    rest = 1.2 + round(2.5 * share(seed, "city", device_id, "datum"), 2)
    warning = round(rest + BELOW_WARNING_M, 2)
    return {
        "level": {
            "yellow": round(warning - 0.5, 2),
            "orange": warning,
            "red": round(warning + 0.7, 2),
        }
    }
