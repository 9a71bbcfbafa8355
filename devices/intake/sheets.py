"""All the sheets, and that of devices."""

from datetime import tzinfo
from typing import Final

from core.model import Text
from devices import KINDS
from devices.intake.city import PLACES, duties
from devices.intake.columns import (
    COMPONENT,
    DEVICE,
    IN_GRID,
    LAT,
    LON,
    OWNER,
    TO_DEPARTMENT,
    TO_GRID,
    check_place,
)
from devices.intake.fields import Field, choice, json_object, number, text
from devices.intake.links import LINKS
from devices.intake.sheet import Complaint, Reference, Sheet, Values, What
from devices.intake.work import SEGMENTS, plans
from devices.limits import doubt_limits
from devices.registry import VIRTUAL_KINDS


def check_device(values: Values) -> Complaint | None:
    """Find a device that cannot be."""
    kind, limits = values.get("kind"), values.get("limits")
    doubt = doubt_limits(kind, limits) if kind and limits else None
    return ("limits", doubt) if doubt else check_place(values)


DEVICES: Final = Sheet(
    "devices",
    "device",
    Text("设备", "devices"),
    ("device_id",),
    (
        Field(
            "device_id",
            "设备编号",
            "text",
            DEVICE,
            Text("MQTT 主题中的编号", "its id in MQTT topics"),
            required=True,
            example="SL-0001",
        ),
        Field(
            "kind",
            "设备类别",
            "text",
            choice(*KINDS, *VIRTUAL_KINDS),
            Text("设备类别", "its kind"),
            required=True,
            example="street_lamp",
        ),
        Field(
            "name",
            "设备名称",
            "text",
            text,
            Text("名称", "what staff call it"),
            empty="",
            example="文峰街 1 号灯",
        ),
        Field(
            "component_code",
            "部件标识码",
            "text",
            COMPONENT,
            Text("所监测的部件", "the component that it watches"),
            example="1411820118000001",
        ),
        IN_GRID,
        OWNER,
        LON,
        LAT,
        Field("gateway", "网关", "text", DEVICE, Text("所属网关的设备编号", "id of its gateway")),
        Field("feeder", "回路", "text", DEVICE, Text("供电回路的设备编号", "id of its feeder")),
        Field(
            "network",
            "运营商网络",
            "text",
            DEVICE,
            Text("运营商网络的设备编号", "id of its operator's network"),
        ),
        Field(
            "interval_s",
            "上报间隔",
            "real",
            number(above=0, high=31 * 86_400),
            Text("秒，空为该类别的默认值", "seconds; empty: as its kind"),
            example="300",
        ),
        Field(
            "limits",
            "限值",
            "jsonb",
            json_object,
            Text(
                '本设备的限值，如 {"level": {"red": 4}}',
                'its own limits, such as {"level": {"red": 4}}',
            ),
            empty={},
        ),
        Field(
            "state",
            "状态",
            "text",
            choice("active", "maintenance", "retired"),
            Text("active、maintenance 或 retired", "active, maintenance or retired"),
            empty="active",
            example="active",
        ),
    ),
    references=(
        Reference("component_code", "component", "component_code", Text("部件", "component")),
        TO_GRID,
        TO_DEPARTMENT,
        Reference("gateway", "device", "device_id", Text("网关", "gateway"), kind="gateway"),
        Reference("feeder", "device", "device_id", Text("回路", "feeder"), kind="feeder"),
        Reference("network", "device", "device_id", Text("网络", "network"), kind="network"),
    ),
    check=check_device,
    geometry="point",
)


def sheets(zone: tzinfo) -> dict[What, Sheet]:
    """Return the sheets; times without a zone are in ``zone``."""
    return {
        sheet.what: sheet
        for sheet in (*PLACES, duties(zone), DEVICES, LINKS, SEGMENTS, plans(zone))
    }
