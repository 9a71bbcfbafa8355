"""A generated city (示意城市): the real figures of Fenyang, on a map that is nobody's.

945 grid cells, 35 departments, components in the city's sub-classes, and the devices the city has:
200 covers, 500 lamps on 12 feeders, 300 vehicles, 1,500 workers' badges, gauges on the river, 50
video endpoints. All of it follows from the seed. Devices of the demo report more often than real
ones, so that a newcomer sees life: about 70 messages a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from simulators import departments, places
from simulators.chance import generator
from simulators.city_devices import CityDevice, build_devices
from simulators.city_parts import Component, ComponentMaker
from simulators.city_work import Plan, Segment, build_plans, build_segments

COMMUNITIES: Final = 38
"""Community service centres of the real city; the middle of a grid code numbers them."""


@dataclass(frozen=True, slots=True)
class Department:
    """A member of the city-management network (成员单位)."""

    dept_code: str
    name_zh: str
    name_en: str
    is_street: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """A grid cell (单元网格): one block.

    Attributes:
        grid_code: 15 digits: district, street, community, serial.
        name: What staff call it.
        dept_code: Its street office.
        outline: Closed ring of ``[lon, lat]``, WGS-84 degrees.
    """

    grid_code: str
    name: str
    dept_code: str
    outline: list[list[float]]


@dataclass(frozen=True, slots=True)
class Duty:
    """Who owns a class of components or events, 2 or 4 digits, in the whole city."""

    category: str
    class_code: str
    dept_code: str


@dataclass(frozen=True, slots=True)
class City:
    """All that ``devices.importer`` takes in, and what the fleet simulates."""

    departments: list[Department]
    cells: list[Cell]
    duties: list[Duty]
    components: list[Component]
    devices: list[CityDevice] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)


def build_city(
    seed: int = 7,
    *,
    components: int = 5_000,
    scale: float = 1.0,
    intervals: Mapping[str, float] | None = None,
) -> City:
    """Build the city.

    Args:
        seed: The same seed gives the same city.
        components: How many components (部件) in all, the devices' own included; the real city has
            more than 100,000.
        scale: Share of the real number of devices; at least one of each.
        intervals: How often devices report, in seconds by kind; unset: the demo's.
    """
    grid = _cells()
    by_block = {places.block_at(*_centre(cell)): cell.grid_code for cell in grid}
    maker = ComponentMaker(by_block)
    devices = build_devices(seed, maker, scale=scale, intervals=intervals)
    maker.fill(generator(seed, "city", "components", "place"), components)
    return City(
        _departments(),
        grid,
        _duties(),
        maker.components,
        devices,
        build_segments(),
        build_plans(devices, seed),
    )


def _departments() -> list[Department]:
    return [
        *(Department(*row, is_street=True) for row in departments.STREETS),
        *(Department(*row, is_street=False) for row in departments.MEMBERS),
    ]


def _duties() -> list[Duty]:
    return [
        *(Duty("component", code, dept) for code, dept in departments.OWNERS.items()),
        *(Duty("event", code, dept) for code, dept in departments.EVENT_OWNERS.items()),
    ]


def _centre(cell: Cell) -> tuple[float, float]:
    (west, south), (east, north) = cell.outline[0], cell.outline[2]
    return (west + east) / 2, (south + north) / 2


def _cells() -> list[Cell]:
    """Return the cells: six streets of about equal size, each of six or seven communities."""
    cells = []
    community = 0
    for number, (code, name, _) in enumerate(departments.STREETS):
        blocks = _blocks_of(number)
        shares = (COMMUNITIES + len(departments.STREETS) - 1 - number) // len(departments.STREETS)
        for index in range(shares):
            community += 1
            begin, end = (len(blocks) * edge // shares for edge in (index, index + 1))
            for serial, block in enumerate(blocks[begin:end], start=1):
                grid_code = f"{places.DISTRICT}{number + 1:03}{community:03}{serial:03}"
                label = f"{name[:-5]}第{index + 1}社区{serial:03}"
                cells.append(Cell(grid_code, label, code, places.outline(*block)))
    return cells


def _blocks_of(street: int) -> list[tuple[int, int]]:
    """Return the blocks of a street: a third of the columns, half of the rows."""
    third, half = street % 3, street // 3
    columns = range(places.COLUMNS * third // 3, places.COLUMNS * (third + 1) // 3)
    rows = range(places.ROWS * half // 2, places.ROWS * (half + 1) // 2)
    return [(column, row) for row in rows for column in columns]


def summary(city: City) -> dict[str, Any]:
    """Return how many there are of everything, for a line on the screen."""
    kinds: dict[str, int] = {}
    for device in city.devices:
        kinds[device.kind] = kinds.get(device.kind, 0) + 1
    return {
        "departments": len(city.departments),
        "grid_cells": len(city.cells),
        "components": len(city.components),
        "devices": kinds,
    }
