"""The cause tree (根因树), as plain functions: no I/O, no clock.

What hangs on what are edges; a cause is a node with an alarm of its own, or one that alarms below
it speak for. An alarm belongs to the nearest cause above it that explains its rule, and stays with
it; so no incident holds what two causes explain.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.families import EVERYWHERE, EXPLAINS, Promotion

Ancestors = Mapping[str, int]
"""Nodes above a device, along edges that explain, with how many edges away."""
_ALTERNATIVES: Final = 3
_FURTHEST: Final = 1_000  # edges: the hub itself is further away than any node of the city


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause that is going on.

    Attributes:
        incident_id: Its incident.
        node: Device id of the node.
        rule_id: The rule of its own alarm.
        title: What staff call the incident, in Chinese.
    """

    incident_id: int
    node: str
    rule_id: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that alarms below it may speak for.

    Attributes:
        node: Its device id.
        kind: Its kind.
        depth: How far above the alarmed devices it is; the deepest node has the least.
        alarmed: Devices below it with an alarm of the family.
        expected: How many below it should report.
        around: How many devices around it have such an alarm: below the top of its own tree, or
            in the grid cells that its devices stand in.
    """

    node: str
    kind: str
    depth: int
    alarmed: frozenset[str]
    expected: int
    around: int

    @property
    def share(self) -> float:
        """The share of what hangs on it that is alarmed (p)."""
        return len(self.alarmed) / self.expected if self.expected else 0.0

    @property
    def score(self) -> float:
        """P × q."""
        return self.share * len(self.alarmed) / self.around if self.around else 0.0


@dataclass(frozen=True, slots=True)
class Promoted:
    """A node that is taken for the cause.

    Attributes:
        candidate: Which.
        members: The devices that it explains and no other does.
        alternatives: Other nodes above these, the best first, with their scores.
    """

    candidate: Candidate
    members: frozenset[str]
    alternatives: Sequence[tuple[str, float]]


def nearest(causes: Iterable[Cause], above: Ancestors, rule_id: str) -> Cause | None:
    """Return the cause that explains an alarm: the nearest above it, of equals the oldest.

    Args:
        causes: What is going on.
        above: What the device hangs on.
        rule_id: The rule of the alarm.
    """
    found = [
        (far, cause.incident_id, cause)
        for cause in causes
        if rule_id in EXPLAINS[cause.rule_id] and (far := _distance(cause, above)) is not None
    ]
    return min(found, key=lambda each: each[:2])[2] if found else None


def promote(candidates: Iterable[Candidate], promotions: Mapping[str, Promotion]) -> list[Promoted]:
    """Return the nodes that are to blame, the deepest first; each device has one of them at most.

    Args:
        candidates: Nodes with alarms below them.
        promotions: What a node of each kind needs.
    """
    several = sorted(candidates, key=lambda each: (each.depth, -each.score, each.node))
    taken: set[str] = set()
    found = []
    for each in several:
        wanted = promotions.get(each.kind)
        free = each.alarmed - taken
        if (
            wanted is None
            or len(free) < wanted.least
            or each.share < wanted.share
            or each.score < wanted.score
            or len(free) * 2 <= len(each.alarmed)  # what is below it is explained already
        ):
            continue
        taken |= free
        others = sorted(
            (
                (other.node, round(other.score, 3))
                for other in several
                if other.node != each.node and other.alarmed & free
            ),
            key=lambda other: (-other[1], other[0]),
        )
        found.append(Promoted(each, frozenset(free), others[:_ALTERNATIVES]))
    return found


def ancestors(edges: Iterable[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    """Return what each device hangs on, from triples of device, node and distance."""
    above: dict[str, dict[str, int]] = defaultdict(dict)
    for device, node, depth in edges:
        above[device][node] = min(depth, above[device].get(node, depth))
    return above


def _distance(cause: Cause, above: Ancestors) -> int | None:
    if cause.rule_id in EVERYWHERE:
        return _FURTHEST
    return above.get(cause.node)
