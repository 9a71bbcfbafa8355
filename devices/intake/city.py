"""Files of the city itself: departments, grid cells, components, and who owns what (duties)."""

from datetime import tzinfo
from typing import Final

from core.model import Text
from devices.intake.columns import (
    CLASS,
    COMPONENT,
    DEPT_CODE,
    GRID,
    IN_GRID,
    LAT,
    LON,
    OWNER,
    TO_DEPARTMENT,
    TO_GRID,
    check_place,
)
from devices.intake.fields import Field, boolean, choice, text, time
from devices.intake.sheet import Complaint, Sheet, Values


def check_duty(values: Values) -> Complaint | None:
    """Find a duty that ends before it begins."""
    start, end = values.get("valid_from"), values.get("valid_to")
    if isinstance(start, str) or isinstance(end, str) or start is None or end is None:
        return None  # one of them is open
    if end > start:
        return None
    return "valid_to", Text("失效时间不晚于生效时间", "it ends before it begins")


PLACES: Final = (
    Sheet(
        "departments",
        "department",
        Text("单位", "departments"),
        ("dept_code",),
        (
            Field(
                "dept_code",
                "单位编码",
                "text",
                DEPT_CODE,
                Text("单位的唯一编码", "its own code"),
                required=True,
                example="lighting",
            ),
            Field(
                "name_zh",
                "单位名称",
                "text",
                text,
                Text("中文名称", "Chinese name"),
                required=True,
                example="路灯管理所",
            ),
            Field(
                "name_en",
                "英文名称",
                "text",
                text,
                Text("英文名称", "English name"),
                empty="",
                example="Street lighting office",
            ),
            Field(
                "is_street",
                "是否街道",
                "boolean",
                boolean,
                Text("街道办事处为是（属地）", "yes for a street office (owner by territory)"),
                empty=False,
                example="0",
            ),
        ),
    ),
    Sheet(
        "grid",
        "grid_cell",
        Text("单元网格", "grid cells"),
        ("grid_code",),
        (
            Field(
                "grid_code",
                "单元网格编码",
                "text",
                GRID,
                Text("14 或 15 位数字", "14 or 15 digits"),
                required=True,
                example="141182001001001",
            ),
            Field(
                "name",
                "名称",
                "text",
                text,
                Text("名称", "its name"),
                empty="",
                example="文峰 001",
            ),
            Field(
                "dept_code",
                "街道编码",
                "text",
                DEPT_CODE,
                Text("所属街道办事处", "its street office"),
                example="street-wenfeng",
            ),
            LON,
            LAT,
        ),
        references=(TO_DEPARTMENT,),
        check=check_place,
        geometry="outline",
    ),
    Sheet(
        "components",
        "component",
        Text("部件", "components"),
        ("component_code",),
        (
            Field(
                "component_code",
                "部件标识码",
                "text",
                COMPONENT,
                Text(
                    "16 位数字：6 县区 + 4 大小类 + 6 流水",
                    "16 digits: 6 county, 4 class, 6 serial",
                ),
                required=True,
                example="1411820118000001",
            ),
            Field(
                "name",
                "部件名称",
                "text",
                text,
                Text("名称", "its name"),
                empty="",
                example="路灯",
            ),
            IN_GRID,
            OWNER,
            LON,
            LAT,
            Field(
                "state",
                "部件状态",
                "text",
                text,
                Text("状态，空为 in_use", "its state; empty: in_use"),
                empty="in_use",
                example="in_use",
            ),
        ),
        references=(TO_GRID, TO_DEPARTMENT),
        check=check_place,
        geometry="point",
        extras=True,
    ),
)


def duties(zone: tzinfo) -> Sheet:
    """Return the sheet of duties; times without a zone are in ``zone``."""
    return Sheet(
        "duties",
        "duty",
        Text("职责（确权）", "duties"),
        ("category", "class_code", "grid_code", "valid_from"),
        (
            Field(
                "category",
                "类型",
                "text",
                choice("component", "event"),
                Text("component 部件 或 event 事件", "component or event"),
                required=True,
                example="component",
            ),
            Field(
                "class_code",
                "大小类编码",
                "text",
                CLASS,
                Text("2 位大类或 4 位大小类", "class, 2 digits, or with its sub-class, 4"),
                required=True,
                example="0118",
            ),
            Field(
                "grid_code",
                "单元网格编码",
                "text",
                GRID,
                Text("空为全市", "empty: the whole city"),
            ),
            Field(
                "dept_code",
                "单位编码",
                "text",
                DEPT_CODE,
                Text("负责单位", "who owns it"),
                required=True,
                example="lighting",
            ),
            Field(
                "valid_from",
                "生效时间",
                "timestamptz",
                time(zone),
                Text("空为一直有效", "empty: since ever"),
                empty="-infinity",
                example="2026-01-01",
            ),
            Field(
                "valid_to",
                "失效时间",
                "timestamptz",
                time(zone),
                Text("空为长期有效", "empty: for ever"),
                empty="infinity",
            ),
        ),
        references=(TO_GRID, TO_DEPARTMENT),
        check=check_duty,
    )
