"""What becomes of incidents as causes come and go: looked at with each pass of time.

A cause takes over what was raised before it; many alarms below a node that says nothing speak for
it (:func:`alerts.causes.promote`); what goes on after its cause is told as left over (遗留). Keys
are found first and locked by the turn with all others, then changed.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from alerts.alarm import HUB
from alerts.alarm_rows import Key
from alerts.causes import Candidate, Promoted, promote
from alerts.families import (
    EVERYWHERE,
    EXPLAINS,
    FAMILIES,
    LEFT_INTERVALS,
    PROMOTIONS,
    SUSPECTS,
    WINDOW_S,
)
from alerts.grouping import incident_name, load_above
from alerts.incident_rows import next_incidents
from alerts.journal import Entry
from alerts.rows import select, write_many
from alerts.suppression import inhibit, release
from alerts.track import Step
from alerts.turn import Turn
from core.batch import Finding
from core.db import Connection
from core.model import Edge, Severity, Text, to_micros
from devices import KINDS
from devices.rules import find_rule

LEFT_OVER: Final = "left_over"
"""Why an alarm is told whose cause is over (遗留)."""
_NAMED: Final = 200
_INTERVALS: Final = Jsonb({kind.name: kind.interval_s for kind in KINDS.values()})
_EXPLAINS: Final = Jsonb({rule: sorted(rules) for rule, rules in EXPLAINS.items()})
_CAUSE_DETECTOR: Final = "cause_tree"

_UNARRANGED: Final = sql.SQL(
    "SELECT EXISTS (SELECT 1 FROM hub.incident WHERE NOT arranged) AS there_are"
)
# open alarms below a cause, from about when it began; those of another cause stay where they are,
# unless the cause is itself one of them
_BELOW: Final = sql.SQL("""
WITH RECURSIVE down (incident_id, node) AS (
    SELECT incident_id, cause_node FROM hub.incident WHERE NOT arranged
     UNION
    SELECT down.incident_id, h.child FROM down JOIN hub.hangs_on h ON h.parent = down.node
     WHERE h.effect = 'inhibit')
SELECT c.incident_id AS into_id, a.device_no, a.rule_id, a.incident_id, o.cause_rule,
       o.announced_at IS NOT NULL AS announced
  FROM hub.incident c
  JOIN hub.alarm a ON (%(explains)s::jsonb -> c.cause_rule) ? a.rule_id
  JOIN hub.device d USING (device_no)
  JOIN hub.incident o ON o.incident_id = a.incident_id
 WHERE NOT c.arranged AND a.incident_id <> c.incident_id
   AND (a.condition_state <> 'cleared' OR a.latched AND a.reset_at IS NULL)
   AND a.started_at >= c.started_at - make_interval(secs => %(window)s
         + 2 * coalesce(d.interval_s, (%(intervals)s::jsonb ->> d.kind)::float8, 0))
   AND (c.cause_rule = ANY (%(everywhere)s)
        OR (c.incident_id, d.device_id) IN (SELECT incident_id, node FROM down))
   AND (o.cause_rule IS NULL OR a.rule_id = o.cause_rule AND d.device_id = o.cause_node)
 ORDER BY c.incident_id, a.alarm_id
""")
_MEMBERS: Final = sql.SQL("""
SELECT a.device_no, a.rule_id, a.incident_id, NULL AS cause_rule, true AS announced
  FROM hub.alarm a WHERE a.incident_id = ANY (%(ids)s)
   AND (a.condition_state <> 'cleared' OR a.latched AND a.reset_at IS NULL)
""")
_ARRANGED: Final = "UPDATE hub.incident SET arranged = true WHERE NOT arranged"
_LEFT: Final = sql.SQL("""
SELECT a.device_no, a.rule_id FROM hub.alarm a JOIN hub.device d USING (device_no)
  JOIN hub.incident i USING (incident_id)
 WHERE a.suppression = 'suppressed'
   AND a.condition_state = 'active' AND i.cause_over_at + make_interval(secs => %(intervals_n)s
         * coalesce(d.interval_s, (%(intervals)s::jsonb ->> d.kind)::float8, 0)) <= %(now)s
""")
_SUSPECTS: Final = sql.SQL("""
SELECT a.device_no, a.rule_id, a.started_at, a.incident_id, d.device_id, d.kind, d.grid_code,
       i.announced_at IS NOT NULL AS announced
  FROM hub.alarm a JOIN hub.device d USING (device_no) JOIN hub.incident i USING (incident_id)
 WHERE a.raised_at > %(since)s AND a.rule_id = ANY (%(rules)s) AND a.suppression = 'none'
   AND a.condition_state <> 'cleared' AND i.cause_rule IS NULL AND d.kind = ANY (%(kinds)s)
""")
_EXPECTED: Final = sql.SQL("""
WITH RECURSIVE down (node, child) AS (
    SELECT n, n FROM unnest(%(nodes)s::text[]) AS n
     UNION
    SELECT down.node, h.child FROM down JOIN hub.hangs_on h ON h.parent = down.child
     WHERE h.effect = 'inhibit')
SELECT down.node, n.kind, n.device_no, n.name, n.grid_code, n.lon, n.lat,
       count(*) FILTER (WHERE d.kind = ANY (%(kinds)s) AND d.state = 'active') AS expected
  FROM down JOIN hub.device d ON d.device_id = down.child
  JOIN hub.device n ON n.device_id = down.node
 GROUP BY 1, 2, 3, 4, 5, 6, 7
""")
# nodes that are blamed for alarms which are all over by now
_RECOVERED: Final = sql.SQL("""
SELECT d.device_no, i.cause_rule, max(a.cleared_at) AS at, i.started_at
  FROM hub.incident i JOIN hub.device d ON d.device_id = i.cause_node
  JOIN hub.alarm a ON a.incident_id = i.incident_id AND a.device_no <> d.device_no
 WHERE i.state = 'open' AND i.cause_rule IS NOT NULL AND i.cause_confidence IS NOT NULL
   AND i.cause_over_at IS NULL
 GROUP BY 1, 2, i.incident_id HAVING bool_and(a.condition_state = 'cleared')
""")


@dataclass(slots=True)
class Blamed:
    """A node that alarms below it speak for.

    Attributes:
        promoted: Why.
        node: Its row: ``device_no``, ``name``, ``grid_code``, ``lon``, ``lat``.
        rows: The alarms that it explains.
    """

    promoted: Promoted
    node: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Regroupings:
    """What is to be changed.

    Attributes:
        moves: Alarms that a cause takes over, with the number of its incident.
        blamed: Nodes to be blamed.
        left: Alarms left over by their cause.
    """

    moves: list[Mapping[str, Any]] = field(default_factory=list)
    blamed: list[Blamed] = field(default_factory=list)
    left: list[Key] = field(default_factory=list)

    @property
    def keys(self) -> set[Key]:
        """All that will be changed."""
        rows = [*self.moves, *(row for each in self.blamed for row in each.rows)]
        return {_key(row) for row in rows} | set(self.left)


async def find_regroupings(turn: Turn, *, suspects: bool) -> Regroupings:
    """Return what is to be changed now.

    Args:
        turn: The turn.
        suspects: Look whether alarms of late speak for a node above them.
    """
    conn = turn.conn
    found = Regroupings()
    if (await select(conn, _UNARRANGED, {}))[0]["there_are"]:
        found.moves = await _taken_over(conn)
        await conn.execute(_ARRANGED)
    if suspects:
        found.blamed = await _find_blamed(conn, turn.now)
    parameters = {"intervals_n": LEFT_INTERVALS, "intervals": _INTERVALS, "now": turn.now}
    found.left = [_key(row) for row in await select(conn, _LEFT, parameters)]
    await _recover(turn)
    return found


async def regroup(turn: Turn, found: Regroupings) -> None:
    """Change what was found; the keys are locked."""
    for each in found.blamed:
        (incident_id,) = await next_incidents(turn.conn, 1)
        await _blame(turn, each, incident_id)
        _take_over(turn, each.rows, incident_id)
    by_cause: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in found.moves:
        by_cause[row["into_id"]].append(row)
    for incident_id, rows in by_cause.items():
        _take_over(turn, rows, incident_id)
    for key in found.left:
        alarm = turn.tracks[key].alarm
        if alarm is not None and alarm.is_open and alarm.suppression == "suppressed":
            alarm, events = release(alarm, turn.now, LEFT_OVER)
            track = replace(turn.tracks[key], alarm=alarm)
            turn.apply(key, Step(track, tuple(events)), turn.rule(key))


async def _taken_over(conn: Connection) -> list[Mapping[str, Any]]:
    """Return what causes that have just come take over; a lower cause with all that it has."""
    rows: dict[Key, Mapping[str, Any]] = {}
    parameters = {
        "explains": _EXPLAINS,
        "window": WINDOW_S,
        "intervals": _INTERVALS,
        "everywhere": sorted(EVERYWHERE),
    }
    into: dict[int, int] = {}
    for row in await select(conn, _BELOW, parameters):
        rows.setdefault(_key(row), row)
        if row["cause_rule"] is not None:
            into.setdefault(row["incident_id"], row["into_id"])
    if into:
        for row in await select(conn, _MEMBERS, {"ids": list(into)}):
            rows.setdefault(_key(row), row | {"into_id": into[row["incident_id"]]})
    return list(rows.values())


def _take_over(turn: Turn, rows: Sequence[Mapping[str, Any]], incident_id: int) -> None:
    """Move alarms into the incident of their cause; below red they are quiet from now on."""
    moved = []
    for row in rows:
        key = _key(row)
        before = turn.tracks[key].alarm
        if before is None or not before.is_open or before.incident_id == incident_id:
            continue
        turn.move(key, incident_id)
        moved.append(before)
        alarm = turn.tracks[key].alarm
        assert alarm is not None  # noqa: S101 - it was moved just now
        alarm, events = inhibit(alarm, incident_name(incident_id), "")
        if events:
            if not row["announced"]:
                alarm = replace(alarm, notified_at=None)  # what was not told yet never will be
            track = replace(turn.tracks[key], alarm=alarm)
            turn.apply(key, Step(track, tuple(events)), turn.rule(key))
    if not moved:
        return
    numbers = [alarm.alarm_id for alarm in moved]
    detail = {"alarms": numbers[:_NAMED], "count": len(numbers)}
    turn.entries.append(_line(incident_id, "joined", detail))
    for old in sorted({alarm.incident_id for alarm in moved if alarm.incident_id}):
        turn.entries.append(_line(old, "merged", {"into": incident_id}, after=str(incident_id)))


async def _find_blamed(conn: Connection, now: datetime) -> list[Blamed]:
    rules = sorted(set[str]().union(*(FAMILIES[family] for family in SUSPECTS)))
    since = now - timedelta(seconds=WINDOW_S)
    parameters = {"since": since, "rules": rules, "kinds": list(KINDS)}
    rows = await select(conn, _SUSPECTS, parameters)
    if len(rows) < min(promotion.least for promotion in PROMOTIONS.values()):
        return []
    above = await load_above(conn, {row["device_id"] for row in rows})
    kinds = sorted({row["kind"] for row in rows})
    nodes = {node for each in above.values() for node in each}
    known = {
        row["node"]: row
        for row in await select(conn, _EXPECTED, {"nodes": sorted(nodes), "kinds": kinds})
        if row["kind"] in PROMOTIONS
    }
    candidates = weigh(rows, above, known)
    return [
        Blamed(
            each,
            known[each.candidate.node],
            [row for row in rows if row["device_id"] in each.members],
        )
        for each in promote(candidates, PROMOTIONS)
    ]


def weigh(
    rows: Sequence[Mapping[str, Any]],
    above: Mapping[str, Mapping[str, int]],
    known: Mapping[str, Mapping[str, Any]],
) -> list[Candidate]:
    """Return the nodes above alarms, with what is alarmed below and around them.

    Around a node is all below the nodes above it, and what hangs on no node in the same grid cells:
    a second feeder that fails elsewhere says nothing against the first.

    Args:
        rows: Alarms: ``device_id, grid_code``.
        above: What each device hangs on, with how far away it is.
        known: Nodes that may be blamed: ``kind, expected``.
    """
    below: dict[str, set[str]] = defaultdict(set)
    depth: dict[str, int] = {}
    cells: dict[str, set[str]] = defaultdict(set)
    alone: set[tuple[str, str]] = set()
    for row in rows:
        device, cell = row["device_id"], row["grid_code"]
        nodes = {node: far for node, far in above.get(device, {}).items() if node in known}
        for node, far in nodes.items():
            below[node].add(device)
            depth[node] = min(far, depth.get(node, far))
            cells[node].add(cell)
        if not nodes and cell:
            alone.add((device, cell))
    found = []
    for node, alarmed in below.items():
        over = {other for other, theirs in below.items() if alarmed < theirs}
        around = alarmed.union(*(below[other] for other in over))
        around |= {device for device, cell in alone if cell in cells[node]}
        row = known[node]
        found.append(
            Candidate(
                node, row["kind"], depth[node], frozenset(alarmed), row["expected"], len(around)
            )
        )
    return found


async def _blame(turn: Turn, each: Blamed, incident_id: int) -> None:
    """Begin the incident of a node that is blamed, and let the node raise its own alarm."""
    candidate, node = each.promoted.candidate, each.node
    promotion = PROMOTIONS[candidate.kind]
    rule = find_rule(candidate.kind, promotion.rule_id)
    assert rule is not None  # noqa: S101 - the table of promotions names rules there are
    called = node["name"] or candidate.node
    started = min(row["started_at"] for row in each.rows)
    severity = Severity(rule.severity)
    values = {
        "incident_id": incident_id,
        "tenant_id": 1,
        "cause_node": candidate.node,
        "cause_kind": candidate.kind,
        "cause_rule": promotion.rule_id,
        "cause_confidence": round(candidate.score, 3),
        "alternatives": [
            {"node": other, "score": score} for other, score in each.promoted.alternatives
        ],
        "severity": severity,
        "state": "open",
        "opened_at": turn.now,
        "member_count": 0,
        "suppressed_count": 0,
        "told_count": 0,
        "title_zh": f"{called}{rule.label.zh}",
        "title_en": f"{called}: {rule.label.en}",
        "grid_codes": [],
        "version": 1,
        "audience": rule.audience,
        "started_at": started,
        "lon": node["lon"],
        "lat": node["lat"],
        "arranged": True,
        "notify_at": turn.now,
    }
    await write_many(turn.conn, "incident", [values])
    count, of = len(each.rows), candidate.expected
    share = round(candidate.share * 100)
    turn.findings.append(
        Finding(
            device_no=node["device_no"],
            rule_id=promotion.rule_id,
            detector=_CAUSE_DETECTOR,
            kind="blamed",
            edge=Edge.OPEN,
            ts=to_micros(turn.now),
            first_ts=to_micros(started),
            received_at=to_micros(turn.now),
            severity=severity,
            explain=Text(
                f"其下 {of} 台设备中有 {count} 台同时告警（{share}%），归为同一原因",
                f"{count} of the {of} devices on it alarmed together ({share} %)",
            ),
            value=float(count),
            unit="{count}",
            detail={"feature": "alarms_together", "neighbour_count": candidate.expected},
        )
    )
    detail = {"node": candidate.node, "score": round(candidate.score, 3), "title": called}
    turn.entries.append(_line(incident_id, "cause_found", detail))


async def _recover(turn: Turn) -> None:
    """End the alarm of nodes that were blamed for alarms which are over."""
    for row in await select(turn.conn, _RECOVERED, {}):
        rule_id, at = row["cause_rule"], to_micros(row["at"])
        turn.findings.append(
            Finding(
                device_no=row["device_no"],
                rule_id=rule_id,
                detector=_CAUSE_DETECTOR,
                kind="blamed",
                edge=Edge.CLEAR,
                ts=at,
                first_ts=to_micros(row["started_at"]),
                received_at=max(at, to_micros(turn.now)),
                severity=Severity.BLUE,
                explain=Text("其下设备均已恢复", "all devices on it are well again"),
            )
        )


def _line(incident_id: int, action: str, detail: dict[str, Any], after: str = "") -> Entry:
    return Entry(
        log="alarm",
        actor=HUB,
        object="incident",
        object_id=str(incident_id),
        action=action,
        after=after,
        detail=detail,
    )


def _key(row: Mapping[str, Any]) -> Key:
    return row["device_no"], row["rule_id"]
