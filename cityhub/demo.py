"""The demo: a generated city in the registry, and a simulator that is all its devices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import psycopg

from core.errors import ImportRefusedError
from devices.importer import import_file
from devices.intake.sheet import What
from simulators import city_files
from simulators.city import build_city, summary

_FOLDER: Final = "city"
_SHEETS: Final = (
    ("departments", city_files.DEPARTMENTS),
    ("grid", city_files.GRID_CELLS),
    ("duties", city_files.DUTIES),
    ("components", city_files.COMPONENTS),
    ("devices", city_files.DEVICES),
    ("links", city_files.LINKS),
    ("segments", city_files.SEGMENTS),
    ("plans", city_files.PLANS),
)
COUNT_DEVICES: Final = "SELECT count(*) FROM hub.device WHERE kind <> 'hub'"


def bring_city(
    url: str, folder: Path, site_key: bytes, say: Callable[[str], None], *, scale: float = 1.0
) -> None:
    """Import a generated city, where the registry has no device yet.

    Args:
        url: The hub's database.
        folder: The data folder; the city's files are kept in it, for the simulator.
        site_key: What the devices' logins follow from.
        say: Takes a word on what is going on.
        scale: Share of the real number of devices.
    """
    files = folder / _FOLDER
    with psycopg.connect(url, autocommit=True) as conn:
        if _count(conn) > 0 and (files / city_files.DEVICES).exists():
            return
        if _count(conn) > 0:
            say("the registry has devices already: no simulated city is added")
            return
        city = build_city(scale=scale)
        city_files.write_city(city, files)
        for what, name in _SHEETS:
            say(f"importing {name}")
            report = import_file(conn, cast("What", what), files / name, site_key=site_key)
            try:
                report.raise_for_problems()
            except ImportRefusedError as error:
                raise AssertionError("the generated city must always be importable") from error
    say(f"simulated city: {_describe(summary(city))}")


def has_city(folder: Path) -> bool:
    """Return whether there is a city to simulate."""
    return (folder / _FOLDER / city_files.DEVICES).exists()


def simulator_arguments(folder: Path, *, life: bool) -> list[str]:
    """Return the arguments of ``cityhub simulate run`` for the city in a data folder.

    Args:
        folder: The data folder.
        life: Let scenes begin by themselves.
    """
    return [
        *("--devices", str(folder / _FOLDER / city_files.DEVICES)),
        *("--truth", str(folder / "truth.jsonl")),
        *("--control", str(control_socket(folder))),
        *(["--life"] if life else []),
    ]


def control_socket(folder: Path) -> Path:
    """Return where the simulator of a data folder takes orders."""
    return folder / "simulator.sock"


def _count(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute(COUNT_DEVICES).fetchone()
    return int(row[0]) if row else 0


def _describe(figures: dict[str, Any]) -> str:
    devices = sum(figures["devices"].values())
    return (
        f"{devices} devices, {figures['components']} components, {figures['grid_cells']} grid"
        f" cells, {figures['departments']} departments"
    )
