"""Components (部件) of the schematic city: what stands on its streets, numbered and owned."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.classes import class_name, classes
from simulators import departments, places

CLASS_SHARES: Final = {"01": 0.42, "02": 0.30, "03": 0.14, "04": 0.10, "05": 0.04}
"""How many components of each class among 100, ours; sub-classes share alike."""
_KERB_M: Final = 12.0


@dataclass(frozen=True, slots=True)
class Component:
    """A component.

    Attributes:
        component_code: 16 digits: district, class, sub-class, serial.
        name: What it is.
        grid_code: The cell it stands in.
        dept_code: Its owner (属主).
        lon: Degrees, WGS-84.
        lat: See ``lon``.
    """

    component_code: str
    name: str
    grid_code: str
    dept_code: str
    lon: float
    lat: float


class ComponentMaker:
    """Numbers components by sub-class, from 1, and knows the cell and the owner of each.

    Args:
        cells: Grid code by block.
    """

    def __init__(self, cells: dict[tuple[int, int], str]) -> None:
        self._cells = cells
        self._serials: dict[str, int] = {}
        self.components: list[Component] = []

    def cell(self, lon: float, lat: float) -> str:
        """Return the code of the grid cell of a place."""
        return self._cells[places.block_at(lon, lat)]

    def make(self, class_code: str, lon: float, lat: float) -> Component:
        """Add a component of a sub-class, 4 digits."""
        serial = self._serials[class_code] = self._serials.get(class_code, 0) + 1
        component = Component(
            f"{places.DISTRICT}{class_code}{serial:06}",
            class_name(class_code, "component"),
            self.cell(lon, lat),
            departments.owner(class_code),
            lon,
            lat,
        )
        self.components.append(component)
        return component

    def fill(self, chance: np.random.Generator, total: int) -> None:
        """Add components along the streets until there are so many."""
        codes = {
            group: [code for code in sorted(classes("component")) if code.startswith(group)]
            for group in CLASS_SHARES
        }
        missing = max(0, total - len(self.components))
        groups = chance.choice(list(CLASS_SHARES), missing, p=list(CLASS_SHARES.values()))
        for group, (lon, lat) in zip(groups, street_places(chance, missing), strict=True):
            sub = codes[group][int(chance.random() * len(codes[group]))]
            self.make(sub, lon, lat)


def street_places(chance: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Return places at the kerbs of random streets."""
    eastward = chance.random(count) < places.COLUMNS / (places.COLUMNS + places.ROWS)
    along, across = chance.random(count), chance.random(count)
    side = chance.choice((-1, 1), count) * _KERB_M * (0.5 + chance.random(count))
    rows = (across * (places.ROWS - 1)).astype(int) + 1  # streets inside the city, not its rim
    columns = (across * (places.COLUMNS - 1)).astype(int) + 1
    x = np.where(eastward, along * places.WIDTH_M, columns * places.BLOCK_X_M + side)
    y = np.where(eastward, rows * places.BLOCK_Y_M + side, along * places.HEIGHT_M)
    return [places.to_place(*point) for point in zip(x.tolist(), y.tolist(), strict=True)]
