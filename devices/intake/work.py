"""Files of street cleaning: road segments (路段), and who works on them when (作业计划)."""

import re
from datetime import time as clock_time
from datetime import tzinfo
from typing import Any, Final

from core.model import Text
from devices.intake.columns import DEVICE, IN_GRID, OWNER, TO_DEPARTMENT, TO_GRID
from devices.intake.fields import Field, WrongError, choice, code, storable, text, time
from devices.intake.sheet import Complaint, Reference, Sheet, Values
from devices.places import doubt_position

_SEGMENT_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_PLAN_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SEGMENT: Final = code(_SEGMENT_CODE, "1–32 位字母、数字、_ 或 -", "1 to 32 of A-Z a-z 0-9 _ -")
_PLAN: Final = code(_PLAN_CODE, "1–64 位字母、数字、_ 或 -", "1 to 64 of A-Z a-z 0-9 _ -")
_WEEKDAYS: Final = code(re.compile(r"[1-7]{1,7}"), "1–7，1 为周一", "digits 1 to 7, 1 is Monday")
_MOST_POINTS: Final = 2_000
_MOST_SEGMENTS: Final = 2_000


def path(cell: str) -> dict[str, Any]:
    """Return ``lon lat; lon lat; …`` as a GeoJSON line.

    >>> path("111.78 37.26; 111.79 37.26")["coordinates"]
    [[111.78, 37.26], [111.79, 37.26]]
    """
    points = [_point(part) for part in storable(cell).split(";") if part.strip()]
    if not 2 <= len(points) <= _MOST_POINTS:  # noqa: PLR2004 - a line has two ends
        raise WrongError(
            f"路段须有 2 至 {_MOST_POINTS} 个点", f"a segment has 2 to {_MOST_POINTS} points"
        )
    return {"type": "LineString", "coordinates": points}


def _point(part: str) -> list[float]:
    try:
        lon, lat = (float(number) for number in part.split())
    except ValueError as error:
        raise WrongError(
            f"{part.strip()[:40]!r} 不是“经度 纬度”",
            f"{part.strip()[:40]!r} is no 'longitude latitude'",
        ) from error
    doubt = doubt_position(lon, lat)
    if doubt:
        raise WrongError(doubt.zh, doubt.en)
    return [lon, lat]


def segment_list(cell: str) -> list[str]:
    """Return codes of segments, written with blanks between them, each once."""
    codes = list(dict.fromkeys(cell.split()))
    if not 1 <= len(codes) <= _MOST_SEGMENTS:
        raise WrongError("路段数量不对", f"1 to {_MOST_SEGMENTS} segments belong here")
    return [_SEGMENT(each) for each in codes]


def time_of_day(cell: str) -> str:
    """Return an hour and minute.

    >>> time_of_day("6:30"), time_of_day("22:00")
    ('06:30', '22:00')
    """
    try:
        hour, minute = (int(part) for part in cell.split(":"))
        return clock_time(hour, minute).isoformat("minutes")
    except ValueError as error:
        raise WrongError(
            f"{cell[:40]!r} 不是 06:30 这样的时刻", f"{cell[:40]!r} is no time such as 06:30"
        ) from error


def check_plan(values: Values) -> Complaint | None:
    """Find a shift without length."""
    if values.get("begins") is not None and values.get("begins") == values.get("ends"):
        return "ends", Text("班次起止时刻相同", "the shift ends when it begins")
    return None


SEGMENTS: Final = Sheet(
    "segments",
    "road_segment",
    Text("作业路段", "road segments"),
    ("segment_code",),
    (
        Field(
            "segment_code",
            "路段编码",
            "text",
            _SEGMENT,
            Text("路段编码", "its code"),
            required=True,
            example="WF-01-03",
        ),
        Field(
            "name",
            "路段名称",
            "text",
            text,
            Text("名称", "what staff call it"),
            empty="",
            example="文峰街（一中至西河路）",
        ),
        IN_GRID,
        OWNER,
        Field(
            "path",
            "线形",
            "jsonb",
            path,
            Text(
                "“经度 纬度”依次排列，以分号分隔，WGS-84",
                "'longitude latitude' of its points, semicolons between them, WGS-84",
            ),
            required=True,
            example="111.780 37.262; 111.783 37.262",
        ),
    ),
    references=(TO_GRID, TO_DEPARTMENT),
)


def plans(zone: tzinfo) -> Sheet:
    """Return the sheet of plans; dates without a zone are in ``zone``."""
    return Sheet(
        "plans",
        "work_plan",
        Text("作业计划", "work plans"),
        ("plan_code",),
        (
            Field(
                "plan_code",
                "计划编号",
                "text",
                _PLAN,
                Text("计划编号", "its code"),
                required=True,
                example="SV-0001-AM",
            ),
            Field(
                "device_id",
                "设备编号",
                "text",
                DEVICE,
                Text("车辆或工牌的设备编号", "id of the vehicle or badge"),
                required=True,
                example="SV-0001",
            ),
            Field(
                "work",
                "作业类型",
                "text",
                choice("sweep", "spray", "presence"),
                Text(
                    "sweep 清扫、spray 洒水、presence 在岗", "sweep, spray, or presence of a worker"
                ),
                required=True,
                example="sweep",
            ),
            Field(
                "segments",
                "路段",
                "text[]",
                segment_list,
                Text("路段编码，以空格分隔", "codes of its segments, blanks between them"),
                required=True,
                example="WF-01-03 WF-01-04",
            ),
            Field(
                "weekdays",
                "星期",
                "text",
                _WEEKDAYS,
                Text("1 为周一，如 12345", "1 is Monday, such as 12345"),
                empty="1234567",
                example="12345",
            ),
            Field(
                "begins",
                "开始时刻",
                "time",
                time_of_day,
                Text("本市时间", "by the city's clock"),
                required=True,
                example="06:00",
            ),
            Field(
                "ends",
                "结束时刻",
                "time",
                time_of_day,
                Text("不晚于开始时刻则为次日", "not after the beginning: the day after"),
                required=True,
                example="10:00",
            ),
            Field(
                "valid_from",
                "生效时间",
                "timestamptz",
                time(zone),
                Text("自此生效", "from when on"),
                empty="-infinity",
                example="2026-01-01",
            ),
            Field(
                "valid_to",
                "失效时间",
                "timestamptz",
                time(zone),
                Text("到此为止", "until when"),
                empty="infinity",
            ),
        ),
        references=(Reference("device_id", "device", "device_id", Text("设备", "device")),),
        check=check_plan,
    )
