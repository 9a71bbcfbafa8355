"""The schematic city has the figures of the real one, and its devices move as people do."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from math import atan2, cos, degrees, hypot, radians
from pathlib import Path

import pytest

from core.model import to_micros
from devices import KINDS, DeviceKind
from devices.components import COMPONENT_CODE
from devices.topics import DEVICE_ID
from simulators import places
from simulators.city import City, build_city
from simulators.city_files import read_devices, write_city
from simulators.physics import PHYSICS
from simulators.physics.movers import Vehicle
from simulators.physics.pace import Pace
from simulators.rest import RestingDevice

START = to_micros(datetime(2026, 7, 1, 4, tzinfo=UTC))
SECOND = 1_000_000


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(7)


def test_the_figures_are_those_of_the_real_city(city: City) -> None:
    kinds = Counter(device.kind for device in city.devices)
    assert len(city.cells) == len({cell.grid_code for cell in city.cells}) == 945
    assert len(city.departments) == 35
    assert kinds["manhole_cover"] == 200
    assert kinds["street_lamp"] == 500
    assert kinds["sanitation_vehicle"] == 300
    assert kinds["sanitation_worker"] == 1500
    assert kinds["video_endpoint"] == 50
    assert kinds["feeder"] == 12
    assert pytest.approx(43.87e6) == places.WIDTH_M * places.HEIGHT_M


def test_every_code_refers_to_something_that_is_there(city: City) -> None:
    cells = {cell.grid_code for cell in city.cells}
    departments = {department.dept_code for department in city.departments}
    components = {component.component_code for component in city.components}
    ids = {device.device_id for device in city.devices}
    assert len(ids) == len(city.devices)
    assert len(components) == len(city.components) == 5_000
    assert all(COMPONENT_CODE.fullmatch(code) for code in components)
    assert {cell.dept_code for cell in city.cells} <= departments
    assert {duty.dept_code for duty in city.duties} <= departments
    for device in city.devices:
        assert DEVICE_ID.fullmatch(device.device_id)
        assert device.device_id.startswith("sim-")
        assert device.grid_code in cells
        assert device.dept_code in departments
        assert not device.component_code or device.component_code in components
        assert not device.gateway or device.gateway in ids
        assert not device.feeder or device.feeder in ids


def test_gateways_carry_forty_covers_and_one_feeder_has_sixty_lamps(city: City) -> None:
    covers = [device for device in city.devices if device.kind == "manhole_cover"]
    feeders = Counter(device.feeder for device in city.devices if device.feeder)
    assert set(Counter(cover.gateway for cover in covers).values()) == {40}
    assert feeders["sim-FD-07"] == 60
    assert sum(feeders.values()) == 500


def test_a_larger_city_has_all_its_components() -> None:
    assert len(build_city(7, components=100_000).components) == 100_000


def test_every_kind_has_devices_even_in_a_tiny_city() -> None:
    tiny = build_city(7, components=0, scale=0.001)
    assert set(KINDS) <= {device.kind for device in tiny.devices}


def test_devices_come_back_from_their_file(city: City, tmp_path: Path) -> None:
    write_city(city, tmp_path)
    assert read_devices(tmp_path / "devices.csv") == city.devices


def test_the_same_seed_builds_the_same_city(city: City) -> None:
    assert build_city(7) == city
    assert build_city(8) != city


@pytest.mark.parametrize("name", ["sanitation_vehicle", "sanitation_worker"])
def test_whoever_moves_stays_in_the_city(city: City, name: str) -> None:
    (west, south), (east, north) = (
        places.to_place(0, 0),
        places.to_place(places.WIDTH_M, places.HEIGHT_M),
    )
    for device in [device for device in city.devices if device.kind == name][:20]:
        kind = KINDS[name]
        rest = RestingDevice(kind, device.device_id, seed=7, lon=device.lon, lat=device.lat)
        physics = PHYSICS[name](
            kind, device.device_id, seed=7, lon=device.lon, lat=device.lat, limits={}
        )
        for step in range(0, 86_400, 1_800):
            values = rest.values(START + step * SECOND)
            physics.apply(START + step * SECOND, values)
            assert west - 0.001 < values["lon"] < east + 0.001
            assert south - 0.001 < values["lat"] < north + 0.001


def test_position_speed_course_and_odometer_of_a_vehicle_agree(city: City) -> None:
    device = next(device for device in city.devices if device.kind == "sanitation_vehicle")
    kind = KINDS["sanitation_vehicle"]
    still = without_noise(kind)
    vehicle = Vehicle(kind, device.device_id, seed=7, lon=device.lon, lat=device.lat, limits={})
    rest = RestingDevice(still, device.device_id, seed=7, lon=device.lon, lat=device.lat)

    def at(moment: int) -> dict[str, float]:
        values = rest.values(moment)
        vehicle.apply(moment, values)
        return values

    straight = 0
    for step in range(0, 86_400, 60):
        moment = START + step * SECOND
        if vehicle.pace(moment) is not Pace.BUSY:
            continue
        one, two = at(moment), at(moment + SECOND)
        if one["course"] != two["course"] or two["odo"] < one["odo"]:
            continue  # turning a corner
        straight += 1
        north = (two["lat"] - one["lat"]) * 110_980
        east = (two["lon"] - one["lon"]) * 111_320 * cos(radians(places.LAT))
        assert hypot(north, east) == pytest.approx(one["speed"] / 3.6, abs=0.3)
        assert (two["odo"] - one["odo"]) * 1000 == pytest.approx(one["speed"] / 3.6, abs=0.1)
        assert abs((degrees(atan2(east, north)) - one["course"] + 180) % 360 - 180) < 10
    assert straight > 500


def without_noise(kind: DeviceKind) -> DeviceKind:
    """Return the kind with sensors that do not scatter."""
    return replace(kind, metrics=tuple(replace(metric, noise=0.0) for metric in kind.metrics))
