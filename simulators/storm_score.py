"""Judges what a hub made of a storm (simulator.md, 39): pure, no I/O.

Few rows alone prove nothing, since a hub that lumps all has one: each true cause must be the cause
of one incident, no incident may hold what two causes did, and what has nothing to do with the storm
must stay a row of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from simulators.scenes.storm import Storm

MOST_ROWS: Final = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the operator's list: an open incident.

    Attributes:
        incident_id: Which.
        cause_node: What it names as its cause; empty: nothing.
        members: Devices of its open alarms.
    """

    incident_id: int
    cause_node: str
    members: frozenset[str]


def judge_storm(storm: Storm, rows: Iterable[Row], *, most: int = MOST_ROWS) -> list[str]:
    """Return what is wrong, in words; nothing: the hub did well.

    Args:
        storm: What really happened.
        rows: The operator's list at its end.
        most: So many rows at most.
    """
    several = list(rows)
    wrong = []
    if len(several) > most:
        wrong.append(f"{len(several)} rows on the list, over {most}")
    for node, devices in storm.causes.items():
        named = [row for row in several if row.cause_node == node]
        if len(named) != 1:
            wrong.append(f"{node} is the cause of {len(named)} incidents")
        strays = [row for row in several if row.members & devices and row.cause_node != node]
        wrong += [f"incident {row.incident_id} holds members of {node}" for row in strays]
    for row in several:
        wrong += _mixed(storm, row)
    for device in sorted(storm.unrelated):
        homes = [row for row in several if device in row.members]
        if len(homes) != 1 or homes[0].members != {device}:
            wrong.append(f"{device} is no row of its own")
    return wrong


def _mixed(storm: Storm, row: Row) -> Sequence[str]:
    causes = [
        node
        for node, devices in storm.causes.items()
        if row.members & (devices | {node}) or row.cause_node == node
    ]
    if len(causes) > 1:
        return [f"incident {row.incident_id} holds members of {' and '.join(causes)}"]
    return []
