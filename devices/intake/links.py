"""Files of links (拓扑关系): what follows from what, such as a gauge from the rain above it."""

from typing import Final

from core.model import Text
from devices.intake.columns import DEVICE
from devices.intake.fields import Field, choice
from devices.intake.sheet import Complaint, Reference, Sheet, Values

LINK_KINDS: Final = ("feeder", "gateway", "network", "power", "road", "grid", "hydrology")
LINK_ONLY: Final = ("hydrology", "road")
"""Along these a cause never hides what follows from it: water that comes from above is real."""


def check_link(values: Values) -> Complaint | None:
    """Find a link that cannot be."""
    if values.get("child") is not None and values.get("child") == values.get("parent"):
        return "parent", Text("上游与下游是同一设备", "a device does not follow from itself")
    if values.get("kind") in LINK_ONLY and values.get("effect") == "inhibit":
        return "effect", Text(
            "水系和道路关系只能是 link", "of water and roads only link is possible"
        )
    return None


LINKS: Final = Sheet(
    "links",
    "topology_edge",
    Text("拓扑关系", "links"),
    ("child", "parent", "kind"),
    (
        Field(
            "child",
            "下游设备",
            "text",
            DEVICE,
            Text("受影响的设备编号，如下游水位站", "id of what follows, such as the gauge below"),
            required=True,
            example="WG-0002",
        ),
        Field(
            "parent",
            "上游设备",
            "text",
            DEVICE,
            Text(
                "来源设备编号，如上游雨量站", "id of what it follows from, such as the rain above"
            ),
            required=True,
            example="RG-0001",
        ),
        Field(
            "kind",
            "关系",
            "text",
            choice(*LINK_KINDS),
            Text("关系类别，水系为 hydrology", "what binds them; water is hydrology"),
            required=True,
            example="hydrology",
        ),
        Field(
            "effect",
            "作用",
            "text",
            choice("link", "inhibit"),
            Text(
                "link 一并显示；inhibit 由上级故障解释",
                "link: shown together; inhibit: the parent's fault explains it",
            ),
            empty="link",
            example="link",
        ),
    ),
    references=(
        Reference("child", "device", "device_id", Text("下游设备", "device")),
        Reference("parent", "device", "device_id", Text("上游设备", "device")),
    ),
    check=check_link,
)
