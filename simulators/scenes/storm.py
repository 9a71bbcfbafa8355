"""An alarm storm (告警风暴): few causes, many abnormal devices, and unrelated alarms among them.

Gateways die, so that their covers fall silent; feeders trip, so that lamp after lamp is found dark,
and nothing speaks for the feeder itself. What else happens meanwhile has nothing to do with it.
"""

from dataclasses import dataclass
from typing import Final

from simulators.chance import generator
from simulators.city_devices import CityDevice

UNRELATED: Final = 15
LASTS_S: Final = 600.0
_STEP_DEGREE: Final = 0.0003  # about 30 m
_APART_DEGREE: Final = 0.02
_TRIPS_WITHIN_S: Final = 60.0
_HEALTHY: Final = 40
_LON: Final = 111.0
_LAT: Final = 37.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A device that turns abnormal.

    Attributes:
        after_s: Seconds since the storm began.
        device_id: Which.
        rule_id: What is found at it; empty: it falls silent, and nothing is found there.
    """

    after_s: float
    device_id: str
    rule_id: str = ""


@dataclass(frozen=True, slots=True)
class Storm:
    """Who suffers what, and because of what.

    Attributes:
        devices: All there are, healthy ones included.
        causes: Device ids that each node takes with it.
        unrelated: Devices whose alarms have causes of their own.
        faults: In order of time.
    """

    devices: list[CityDevice]
    causes: dict[str, frozenset[str]]
    unrelated: frozenset[str]
    faults: list[Fault]


def make_storm(*, abnormal: int = 2_000, causes: int = 5, seed: int = 39) -> Storm:
    """Return a storm; the same seed gives the same one.

    Args:
        abnormal: How many devices turn abnormal because of the causes.
        causes: How many there are: gateways and feeders by turns.
        seed: Of the times.
    """
    chance = generator(seed, "storm", "city", "times")
    devices: list[CityDevice] = []
    taken: dict[str, frozenset[str]] = {}
    faults: list[Fault] = []
    for number in range(causes):
        size = abnormal * (number + 1) // causes - abnormal * number // causes
        begins = float(chance.uniform(0, LASTS_S - _TRIPS_WITHIN_S))
        is_gateway = number % 2 == 0
        kind, node_kind, rule = (
            ("manhole_cover", "gateway", "")
            if is_gateway
            else ("street_lamp", "feeder", "lamp_out")
        )
        node = f"storm-{'GW' if is_gateway else 'FD'}-{number}"
        lat = _LAT + number * _APART_DEGREE
        devices.append(CityDevice(node, node_kind, node, _LON, lat))
        below = []
        for place in range(size):
            name = f"storm-{number}-{place:04}"
            lon = _LON + place * _STEP_DEGREE
            below.append(
                CityDevice(
                    name,
                    kind,
                    name,
                    lon,
                    lat,
                    gateway=node if is_gateway else "",
                    feeder="" if is_gateway else node,
                    interval_s=30.0,
                )
            )
            after = begins if is_gateway else begins + float(chance.uniform(0, _TRIPS_WITHIN_S))
            faults.append(Fault(after, name, rule))
        devices += below
        taken[node] = frozenset(each.device_id for each in below)
    healthy, alone = _healthy()
    for device, rule in alone:
        faults.append(Fault(float(chance.uniform(0, LASTS_S)), device, rule))
    faults.sort(key=lambda fault: (fault.after_s, fault.device_id))
    return Storm(devices + healthy, taken, frozenset(device for device, _ in alone), faults)


def _healthy() -> tuple[list[CityDevice], list[tuple[str, str]]]:
    """Return devices that no cause touches, and what befalls fifteen of them all the same."""
    devices = [CityDevice("storm-FD-well", "feeder", "storm-FD-well", _LON, _LAT - 0.1)]
    for place in range(_HEALTHY):
        name = f"storm-well-{place:02}"
        lamp = CityDevice(
            name, "street_lamp", name, _LON + place * _APART_DEGREE, _LAT - 0.1,
            feeder="storm-FD-well", interval_s=30.0,
        )  # fmt: skip
        devices.append(lamp)
    alone = [(f"storm-well-{place:02}", "lamp_out") for place in range(3)]
    rules = ["cover_open"] * 5 + ["cover_shift"] * 4 + [""] * 3
    for place, rule in enumerate(rules):
        # on the very streets of the storm, between its devices
        name = f"storm-alone-{place:02}"
        lat = _LAT + (place % 5) * _APART_DEGREE + _STEP_DEGREE / 2
        lon = _LON - (place // 5) * _APART_DEGREE
        devices.append(CityDevice(name, "manhole_cover", name, lon, lat, interval_s=30.0))
        alone.append((name, rule))
    return devices, alone
