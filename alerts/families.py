"""What grouping goes by (归并): which rules are of one family, which cause explains what, how long.

One table of data for the module; every number is ours where no source is named. A rule without a
family stands for itself: two covers stolen near one another are two thefts, with a case each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.model import Severity

FAMILIES: Final[Mapping[str, frozenset[str]]] = {
    "silence": frozenset(
        {"offline", "view_offline", "gateway_offline", "network_down", "cell_down"}
    ),
    "power": frozenset({"lamp_out", "under_volt", "over_volt", "feeder_down"}),
    "water": frozenset({"rain_ladder", "level_ladder", "rise_rate", "cover_flooded"}),
    "ground": frozenset({"dam_displacement", "slope_acceleration", "crack_wide", "seepage"}),
}
"""Rules that may have one cause with one another (同类规则)."""

_FAMILY: Final = {rule: name for name, rules in FAMILIES.items() for rule in rules}

EXPLAINS: Final[Mapping[str, frozenset[str]]] = {
    "gateway_offline": frozenset({"offline", "view_offline"}),
    "feeder_down": FAMILIES["silence"] - {"network_down", "cell_down"} | FAMILIES["power"],
    "network_down": frozenset({"offline", "view_offline", "gateway_offline"}),
    "cell_down": frozenset({"offline"}),
    "pipeline_down": FAMILIES["silence"],
    "broker_lost": FAMILIES["silence"],
    "store_lag": FAMILIES["silence"],
}
"""What the alarm of a cause explains on everything that hangs on it."""

EVERYWHERE: Final = frozenset({"pipeline_down", "broker_lost", "store_lag"})
"""Causes in the hub itself: every device hangs on it."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """When alarms below a node are put down to it, although it says nothing itself.

    Attributes:
        rule_id: The rule of the alarm that the node then raises.
        family: Of the alarms below.
        least: So many of them at least.
        share: They are at least this share of what hangs on the node (p).
        score: p × q at least, q being their share of all such alarms around.
    """

    rule_id: str
    family: str
    least: int = 3
    share: float = 0.6
    score: float = 0.4


PROMOTIONS: Final[Mapping[str, Promotion]] = {"feeder": Promotion("feeder_down", "power")}
"""By the kind of the node. Gateways, networks and cells go by the rule of silence instead."""

SUSPECTS: Final = frozenset(promotion.family for promotion in PROMOTIONS.values())
"""Families whose alarms may speak for a node above them."""

WINDOW_S: Final = 300.0
"""Alarms further apart have no common cause, in seconds."""
LINK_WINDOW_S: Final = 21_600.0
"""Water takes its time from gauge to gauge, in seconds."""
NEAR_M: Final = 300.0
NEAR_S: Final = 600.0
"""So near in metres and seconds to its first alarm, others of the family join an incident."""
LEFT_INTERVALS: Final = 2.0
"""What goes on for so many of its own intervals after its cause is left over (遗留)."""
LARGE: Final = 50
"""An incident with more members is one rank graver than the worst of them."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often people are told of an incident, in seconds.

    Attributes:
        wait: Until the first word, so that it tells of the whole group.
        interval: Between two words on new members.
        repeat: Between two reminders while somebody has yet to take note.
    """

    wait: float
    interval: float
    repeat: float


PACES: Final[Mapping[Severity, Pace]] = {
    Severity.RED: Pace(0, 60, 600),
    Severity.ORANGE: Pace(15, 300, 3_600),
    Severity.YELLOW: Pace(30, 300, 14_400),  # as Alertmanager
}
"""Blue is told in a digest only."""
DIGEST_S: Final = 3_600.0

FLOOD_WINDOW_S: Final = 600.0
FLOOD_BEGINS: Final = 10
FLOOD_ENDS: Final = 5
"""More announcements at a seat within the window begin a flood (告警洪峰), fewer end it; after
ISA-18.2 as quoted."""


def family_of(rule_id: str) -> str | None:
    """Return the family of a rule; None: it stands for itself.

    >>> family_of("lamp_out"), family_of("cover_open")
    ('power', None)
    """
    return _FAMILY.get(rule_id)
