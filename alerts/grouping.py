"""Which incident a new alarm belongs to (归并), decided once, as it is raised.

First the cause above it that explains it; else an incident of its family that began near it or
upstream of it; else one of its own. An alarm under a cause is quiet from the start, red excepted.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from psycopg import sql

from alerts.alarm import Alarm, Suppression
from alerts.alarm_rows import Key
from alerts.causes import Cause, ancestors, nearest
from alerts.facts import Facts
from alerts.families import (
    EXPLAINS,
    FAMILIES,
    LINK_WINDOW_S,
    NEAR_M,
    NEAR_S,
    family_of,
)
from alerts.rows import select
from alerts.suppression import Shade
from core.db import Connection
from core.model import Severity
from devices.kind import AlarmRule

_CAUSES: Final = sql.SQL("""
SELECT incident_id, cause_node AS node, cause_rule AS rule_id, title_zh AS title FROM hub.incident
 WHERE state = 'open' AND cause_rule IS NOT NULL AND cause_over_at IS NULL
""")
_ABOVE: Final = sql.SQL("""
WITH RECURSIVE up (device, node, depth) AS (
    SELECT d, d, 0 FROM unnest(%(devices)s::text[]) AS d
     UNION
    SELECT up.device, h.parent, up.depth + 1 FROM up JOIN hub.hangs_on h ON h.child = up.node
     WHERE h.effect = 'inhibit' AND up.depth < %(deepest)s)
SELECT device, node, depth FROM up WHERE depth > 0
""")
_DEEPEST: Final = 8
# what water or a road joins, up and down, each way for itself: two brooks of one river are not one
_LINKED: Final = sql.SQL("""
WITH RECURSIVE up (device, node) AS (
    SELECT d, d FROM unnest(%(devices)s::text[]) AS d
     UNION
    SELECT up.device, e.parent FROM up JOIN hub.topology_edge e ON e.child = up.node
     WHERE e.effect = 'link'),
down (device, node) AS (
    SELECT d, d FROM unnest(%(devices)s::text[]) AS d
     UNION
    SELECT down.device, e.child FROM down JOIN hub.topology_edge e ON e.parent = down.node
     WHERE e.effect = 'link')
SELECT device, node FROM up WHERE device <> node UNION SELECT device, node FROM down
 WHERE device <> node
""")
_LINKED_ALARMS: Final = sql.SQL("""
SELECT d.device_id, a.rule_id, a.started_at, a.incident_id
  FROM hub.device d JOIN hub.alarm a USING (device_no)
  JOIN hub.incident i USING (incident_id)
 WHERE d.device_id = ANY (%(nodes)s) AND a.rule_id = ANY (%(rules)s)
   AND (a.condition_state <> 'cleared' OR a.latched AND a.reset_at IS NULL)
   AND i.cause_rule IS NULL
 ORDER BY a.incident_id
""")
_NEAR: Final = sql.SQL("""
SELECT p.place, i.incident_id
  FROM unnest(%(family)s::text[], %(at)s::timestamptz[], %(lon)s::float8[], %(lat)s::float8[])
       WITH ORDINALITY AS p (family, at, lon, lat, place)
 CROSS JOIN LATERAL (
    SELECT incident_id FROM hub.incident AS i
     WHERE i.family = p.family AND i.state = 'open' AND i.cause_rule IS NULL
       AND i.started_at BETWEEN p.at - %(within)s::interval AND p.at + %(within)s::interval
       AND i.lat BETWEEN p.lat - %(metres)s / 111195.0 AND p.lat + %(metres)s / 111195.0
       AND sqrt(((i.lat - p.lat) * 111195.0) ^ 2
                + ((i.lon - p.lon) * 111195.0 * cos(radians(p.lat))) ^ 2) <= %(metres)s
     ORDER BY i.incident_id LIMIT 1) AS i
""")
_DEGREE_M: Final = 111_195.0


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new alarm that looks for its incident.

    Attributes:
        key: Its device and rule.
        alarm: As it was raised.
        facts: Its device.
        rule: Its rule.
    """

    key: Key
    alarm: Alarm
    facts: Facts
    rule: AlarmRule

    @property
    def family(self) -> str | None:
        """Of its rule."""
        return family_of(self.rule.rule_id)

    @property
    def is_cause(self) -> bool:
        """Whether it may explain others."""
        return self.rule.rule_id in EXPLAINS and self.facts.is_virtual


@dataclass(slots=True)
class Group:
    """An incident and the new alarms in it.

    Attributes:
        incident_id: Which; None: it is new, and the first member began it.
        members: New alarms, in order.
        below: Those of them that its cause explains.
    """

    incident_id: int | None = None
    members: list[Fresh] = field(default_factory=list)
    below: list[Fresh] = field(default_factory=list)


async def load_causes(conn: Connection) -> list[Cause]:
    """Return the causes that are going on."""
    return [Cause(**row) for row in await select(conn, _CAUSES, {})]


async def load_above(conn: Connection, devices: Collection[str]) -> dict[str, dict[str, int]]:
    """Return the nodes above devices, by device id, with how far away they are."""
    if not devices:
        return {}
    rows = await select(conn, _ABOVE, {"devices": list(devices), "deepest": _DEEPEST})
    return ancestors((row["device"], row["node"], row["depth"]) for row in rows)


async def find_causes(
    conn: Connection, keys: Iterable[Key], facts: Mapping[int, Facts]
) -> dict[Key, Cause]:
    """Return the cause going on above each key that one explains."""
    wanted = [key for key in keys if key[0] in facts and _may_be_explained(key[1])]
    if not wanted:
        return {}
    causes = await load_causes(conn)
    rules = frozenset[str]().union(*(EXPLAINS[cause.rule_id] for cause in causes))
    wanted = [key for key in wanted if key[1] in rules]
    if not wanted:
        return {}
    above = await load_above(conn, {facts[key[0]].device_id for key in wanted})
    found = {key: nearest(causes, above.get(facts[key[0]].device_id, {}), key[1]) for key in wanted}
    return {key: cause for key, cause in found.items() if cause is not None}


def shade_of(cause: Cause) -> Shade:
    """Return what stands over an alarm under a cause: quiet, unless it grows red."""
    return Shade(
        state=Suppression.SUPPRESSED,
        by=incident_name(cause.incident_id),
        reason=cause.title,
        upto=Severity.ORANGE,
    )


def incident_name(incident_id: int) -> str:
    """Return what an alarm under a cause names as what keeps it quiet."""
    return f"incident:{incident_id}"


async def place(
    conn: Connection, several: Sequence[Fresh], under: Mapping[Key, Cause]
) -> list[Group]:
    """Return the incidents of new alarms; every alarm is in exactly one.

    Args:
        conn: The transaction.
        several: The alarms.
        under: The cause going on above each key, where there is one.
    """
    found: list[Group] = []
    stored: dict[int, Group] = {}

    def of(incident_id: int) -> Group:
        if incident_id not in stored:
            stored[incident_id] = Group(incident_id)
            found.append(stored[incident_id])
        return stored[incident_id]

    begun = await _begin_causes(conn, several, under, found, of)
    above = {}
    if begun:
        above = await load_above(
            conn, {each.facts.device_id for each in several if _may_be_explained(each.key[1])}
        )
    rest = []
    for each in several:
        cause = under.get(each.key)
        new = nearest(begun, above.get(each.facts.device_id, {}), each.key[1])
        if each.is_cause and cause is None and each.alarm.is_open:
            continue  # it has its group
        if not each.alarm.is_open:
            found.append(Group(None, [each]))
        elif cause is not None:
            _put_below(of(cause.incident_id), each)
        elif new is not None:
            _put_below(begun[new], each)
        else:
            rest.append(each)
    await _join(conn, rest, found, of)
    return found


async def _begin_causes(
    conn: Connection,
    several: Sequence[Fresh],
    under: Mapping[Key, Cause],
    found: list[Group],
    of: Callable[[int], Group],
) -> dict[Cause, Group]:
    """Give causes their groups: of several above one another the uppermost has it."""
    fresh = [
        each for each in several if each.is_cause and each.alarm.is_open and each.key not in under
    ]
    if not fresh:
        return {}
    waiting = {(cause.node, cause.rule_id): cause for cause in await load_causes(conn)}
    causes = {
        each.key: Cause(-number, each.facts.device_id, each.rule.rule_id)
        for number, each in enumerate(fresh, 1)
    }
    above = await load_above(conn, {each.facts.device_id for each in fresh})
    over = {
        each.key: nearest(causes.values(), above.get(each.facts.device_id, {}), each.key[1])
        for each in fresh
    }
    by_cause = {cause: each for each in fresh for cause in [causes[each.key]]}
    groups: dict[Cause, Group] = {}
    for each in fresh:
        top, below = _uppermost(causes[each.key], over, by_cause)
        if top not in groups:
            first = by_cause[top]
            known = waiting.get((top.node, top.rule_id))
            groups[top] = of(known.incident_id) if known else Group()
            groups[top].members.append(first)
            if known is None:
                found.append(groups[top])
        groups[causes[each.key]] = groups[top]
        if below:
            _put_below(groups[top], each)
    return groups


def _uppermost(
    cause: Cause, over: Mapping[Key, Cause | None], by_cause: Mapping[Cause, Fresh]
) -> tuple[Cause, bool]:
    """Return the last of the causes above one another, and whether that is another one."""
    seen = [cause]
    while (above := over[by_cause[seen[-1]].key]) is not None:
        if above in seen:  # edges in a ring: the first of them has to do
            above = min(seen[seen.index(above) :], key=lambda each: -each.incident_id)
            return above, above != cause
        seen.append(above)
    return seen[-1], len(seen) > 1


async def _join(
    conn: Connection, rest: Sequence[Fresh], found: list[Group], of: Callable[[int], Group]
) -> None:
    """Put alarms beside others of their family, near them or along the water; else alone."""
    kin = [each for each in rest if each.family and not each.facts.moves and each.facts.lat]
    linked = await _linked(conn, kin)
    near = await _near(conn, [each for each in kin if each.key not in linked])
    groups: dict[str, list[Group]] = {}
    for each in rest:
        incident_id = linked.get(each.key) or near.get(each.key)
        group = of(incident_id) if incident_id else None
        if group is None and each in kin:
            beside = groups.get(each.family or "", ())
            group = next((one for one in beside if is_near(one.members[0], each)), None)
        if group is None:
            group = Group()
            found.append(group)
            if each.family:
                groups.setdefault(each.family, []).append(group)
        group.members.append(each)


async def _linked(conn: Connection, kin: Sequence[Fresh]) -> dict[Key, int]:
    """Return incidents of alarms up or down the water or the road, within hours."""
    if not kin:
        return {}
    devices = sorted({each.facts.device_id for each in kin})
    pairs = await select(conn, _LINKED, {"devices": devices})
    if not pairs:
        return {}
    nodes: dict[str, set[str]] = {}
    for row in pairs:
        nodes.setdefault(row["device"], set()).add(row["node"])
    rules = sorted(set[str]().union(*FAMILIES.values()))
    parameters = {"nodes": sorted({row["node"] for row in pairs}), "rules": rules}
    alarms = await select(conn, _LINKED_ALARMS, parameters)
    found: dict[Key, int] = {}
    for each in kin:
        reach = nodes.get(each.facts.device_id, set())
        for row in alarms:
            apart = abs((row["started_at"] - each.alarm.started_at).total_seconds())
            if (
                row["device_id"] in reach
                and family_of(row["rule_id"]) == each.family
                and apart <= LINK_WINDOW_S
            ):
                found.setdefault(each.key, row["incident_id"])
    return found


async def _near(conn: Connection, kin: Sequence[Fresh]) -> dict[Key, int]:
    """Return incidents of their family that began near some alarms."""
    if not kin:
        return {}
    parameters: dict[str, Any] = {
        "family": [each.family for each in kin],
        "at": [each.alarm.started_at for each in kin],
        "lon": [each.facts.lon for each in kin],
        "lat": [each.facts.lat for each in kin],
        "within": timedelta(seconds=NEAR_S),
        "metres": NEAR_M,
    }
    rows = await select(conn, _NEAR, parameters)
    return {kin[row["place"] - 1].key: row["incident_id"] for row in rows}


def is_near(first: Fresh, other: Fresh) -> bool:
    """Return whether an alarm began near enough to the first of an incident."""
    a, b = first.facts, other.facts
    if a.moves or a.lon is None or a.lat is None or b.lon is None or b.lat is None:
        return False
    apart = abs((first.alarm.started_at - other.alarm.started_at).total_seconds())
    north = (a.lat - b.lat) * _DEGREE_M
    east = (a.lon - b.lon) * _DEGREE_M * math.cos(math.radians(b.lat))
    return apart <= NEAR_S and math.hypot(north, east) <= NEAR_M


def _put_below(group: Group, each: Fresh) -> None:
    group.members.append(each)
    group.below.append(each)


def _may_be_explained(rule_id: str) -> bool:
    return rule_id in _EXPLAINED


_EXPLAINED: Final = frozenset[str]().union(*EXPLAINS.values())
