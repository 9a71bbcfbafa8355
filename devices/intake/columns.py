"""Columns and references that several sheets share."""

import re
from typing import Final

from core.model import Text
from devices.components import CLASS_CODE, COMPONENT_CODE
from devices.intake.fields import Field, code, number
from devices.intake.sheet import Complaint, Reference, Values
from devices.places import GRID_CODE, doubt_position
from devices.topics import DEVICE_ID

_DEPT: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")

DEPT_CODE: Final = code(_DEPT, "1–32 位字母、数字、_ 或 -", "1 to 32 of A-Z a-z 0-9 _ -")
DEVICE: Final = code(DEVICE_ID, "1–64 位字母、数字、_ 或 -", "1 to 64 of A-Z a-z 0-9 _ -")
GRID: Final = code(GRID_CODE, "14 或 15 位数字", "14 or 15 digits")
COMPONENT: Final = code(COMPONENT_CODE, "16 位数字", "16 digits")
CLASS: Final = code(CLASS_CODE, "2 或 4 位数字", "2 or 4 digits")

LON: Final = Field(
    "lon", "经度", "float8", number(), Text("WGS-84 度", "WGS-84 degrees"), example="111.785"
)
LAT: Final = Field(
    "lat", "纬度", "float8", number(), Text("WGS-84 度", "WGS-84 degrees"), example="37.262"
)
IN_GRID: Final = Field(
    "grid_code",
    "单元网格编码",
    "text",
    GRID,
    Text("所在单元网格", "the grid cell it stands in"),
    example="141182001001001",
)
OWNER: Final = Field(
    "dept_code", "单位编码", "text", DEPT_CODE, Text("属主单位", "who owns it"), example="lighting"
)

TO_DEPARTMENT: Final = Reference("dept_code", "department", "dept_code", Text("单位", "department"))
TO_GRID: Final = Reference("grid_code", "grid_cell", "grid_code", Text("单元网格", "grid cell"))


def check_place(values: Values) -> Complaint | None:
    """Find a place that cannot be."""
    lon, lat = values.get("lon"), values.get("lat")
    if lon is None and lat is None:
        return None
    if lon is None or lat is None:
        return "lon", Text("经度和纬度须同时填写", "longitude and latitude come together")
    doubt = doubt_position(lon, lat)
    return ("lon", doubt) if doubt else None
