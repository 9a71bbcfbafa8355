"""The city as files: what ``devices.importer`` takes in, and what the fleet reads back."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from core.errors import ConfigError
from simulators.city import City
from simulators.city_devices import CityDevice
from simulators.hydrology import waters

DEPARTMENTS: Final = "departments.csv"
GRID_CELLS: Final = "grid_cells.geojson"
COMPONENTS: Final = "components.csv"
DUTIES: Final = "duties.csv"
DEVICES: Final = "devices.csv"
LINKS: Final = "links.csv"
SEGMENTS: Final = "segments.csv"
PLANS: Final = "plans.csv"
_DEVICE_COLUMNS: Final = (
    "device_id",
    "kind",
    "name",
    "component_code",
    "grid_code",
    "dept_code",
    "lon",
    "lat",
    "gateway",
    "feeder",
    "interval_s",
    "limits",
)


def write_city(city: City, folder: Path) -> None:
    """Write the files into a folder, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_rows(
        folder / DEPARTMENTS,
        ("dept_code", "name_zh", "name_en", "is_street"),
        (
            (each.dept_code, each.name_zh, each.name_en, str(each.is_street).lower())
            for each in city.departments
        ),
    )
    features = [
        {
            "type": "Feature",
            "properties": {
                "grid_code": cell.grid_code,
                "name": cell.name,
                "dept_code": cell.dept_code,
            },
            "geometry": {"type": "Polygon", "coordinates": [cell.outline]},
        }
        for cell in city.cells
    ]
    collection = {"type": "FeatureCollection", "features": features}
    (folder / GRID_CELLS).write_text(json.dumps(collection, ensure_ascii=False), "utf-8")
    _write_rows(
        folder / COMPONENTS,
        ("component_code", "name", "grid_code", "dept_code", "lon", "lat"),
        (
            (each.component_code, each.name, each.grid_code, each.dept_code, each.lon, each.lat)
            for each in city.components
        ),
    )
    _write_rows(
        folder / DUTIES,
        ("category", "class_code", "grid_code", "dept_code"),
        ((each.category, each.class_code, "", each.dept_code) for each in city.duties),
    )
    _write_rows(folder / DEVICES, _DEVICE_COLUMNS, (_device_row(each) for each in city.devices))
    _write_rows(
        folder / LINKS,
        ("child", "parent", "kind", "effect"),
        (
            (each.child, each.parent, each.kind, each.effect)
            for each in waters(city.devices).links()
        ),
    )
    _write_rows(
        folder / SEGMENTS,
        ("segment_code", "name", "path"),
        (
            (each.segment_code, each.name, "; ".join(f"{lon} {lat}" for lon, lat in each.path))
            for each in city.segments
        ),
    )
    _write_rows(
        folder / PLANS,
        ("plan_code", "device_id", "work", "segments", "begins", "ends"),
        (
            (
                each.plan_code,
                each.device_id,
                each.work,
                " ".join(each.segments),
                each.begins,
                each.ends,
            )
            for each in city.plans
        ),
    )


def read_devices(path: Path) -> list[CityDevice]:
    """Read ``devices.csv``; columns that are not ours are left alone.

    Raises:
        ConfigError: There is no such file, or a line has no id, kind or place.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return [_device(row) for row in csv.DictReader(lines)]
    except OSError as error:
        raise ConfigError(f"cannot read the devices {path}: {error.strerror}") from error
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{path} is no list of devices with places: {error!r}") from error


def _device_row(device: CityDevice) -> tuple[Any, ...]:
    limits = json.dumps(device.limits) if device.limits else ""
    interval = "" if device.interval_s is None else device.interval_s
    values = [getattr(device, name) for name in _DEVICE_COLUMNS[:-2]]
    return (*values, interval, limits)


def _device(row: Mapping[str, str]) -> CityDevice:
    return CityDevice(
        device_id=row["device_id"],
        kind=row["kind"],
        name=row.get("name") or "",
        lon=float(row["lon"]),
        lat=float(row["lat"]),
        grid_code=row.get("grid_code") or "",
        dept_code=row.get("dept_code") or "",
        component_code=row.get("component_code") or "",
        gateway=row.get("gateway") or "",
        feeder=row.get("feeder") or "",
        interval_s=float(row["interval_s"]) if row.get("interval_s") else None,
        limits=json.loads(row["limits"]) if row.get("limits") else {},
    )


def _write_rows(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        writer.writerows(rows)
