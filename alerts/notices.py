"""Who is told of incidents when (归并通知), and when it is too much for a seat (告警洪峰).

People are told of an incident, not of each alarm: once after a short wait, so that the group is
complete; then of what joined it, of a graver rank, and as a reminder while somebody has yet to take
note. In a flood red stays as it is, orange is told once a grid cell, the rest is only counted; the
digest names what was only counted, so that nothing is dropped. All are lines of the log.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from psycopg import sql
from psycopg.types.json import Jsonb

from alerts.alarm import HUB
from alerts.families import (
    DIGEST_S,
    FLOOD_BEGINS,
    FLOOD_ENDS,
    FLOOD_WINDOW_S,
    PACES,
    Pace,
)
from alerts.journal import Entry
from alerts.rows import select
from alerts.turn import Turn
from core.model import Severity

_MOST: Final = 2_000
_NAMED: Final = 100
_SEATS: Final = sql.SQL("""
SELECT s.seat, s.flood_since, s.digest_at, s.audiences, s.grid_prefix,
       (SELECT count(*) FROM (SELECT 1 FROM hub.incident i
         WHERE i.announced_at > %(since)s AND hub.shows(s, i) LIMIT %(most)s) AS few) AS announced
  FROM hub.seat s ORDER BY s.seat
""")
_DUE: Final = sql.SQL("""
SELECT i.incident_id, i.severity, i.audience, i.title_zh, i.title_en, i.announced_at, i.told_at,
       i.told_count, i.told_severity, i.grid_codes, i.cause_node, n.shown, n.unacked,
       i.suppressed_count
  FROM hub.incident i CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE a.suppression = 'none' AND NOT a.flapping)::int4 AS shown,
           count(*) FILTER (WHERE a.suppression = 'none' AND a.ack_state = 'unacked'
             AND (a.condition_state <> 'cleared' OR a.latched AND a.reset_at IS NULL))::int4
               AS unacked
      FROM hub.alarm a WHERE a.incident_id = i.incident_id) AS n
 WHERE i.notify_at <= %(now)s AND i.state = 'open'
 ORDER BY i.incident_id LIMIT %(most)s
""")
_TOLD: Final = """
UPDATE hub.incident AS i SET notify_at = r.notify_at, announced_at = r.announced_at,
       told_at = r.told_at, told_count = r.told_count, told_severity = r.told_severity
  FROM jsonb_to_recordset(%s) AS r (incident_id int8, notify_at timestamptz,
       announced_at timestamptz, told_at timestamptz, told_count int4, told_severity int2)
 WHERE i.incident_id = r.incident_id
"""
_FLOOD: Final = "UPDATE hub.seat SET flood_since = %s WHERE seat = %s"
_COUNTED: Final = sql.SQL("""
SELECT i.severity, count(*)::int4 AS incidents FROM hub.incident i, hub.seat s
 WHERE s.seat = %(seat)s AND i.opened_at > %(since)s AND i.opened_at <= %(now)s
   AND i.told_at IS NULL AND i.member_count > 0 AND hub.shows(s, i)
 GROUP BY 1 ORDER BY 1 DESC
""")
_DIGESTED: Final = "UPDATE hub.seat SET digest_at = %s WHERE seat = %s"


@dataclass(frozen=True, slots=True)
class Standing:
    """An incident as far as telling goes.

    Attributes:
        severity: How grave it is.
        shown: Its alarms that nothing keeps quiet.
        unacked: Those of them that nobody took note of and that go on.
        announced_at: When seats were first told, or it was counted in a flood.
        told_at: When they were told last.
        told_count: Of how many alarms.
        told_severity: And how grave it was.
    """

    severity: Severity
    shown: int
    unacked: int
    announced_at: datetime | None = None
    told_at: datetime | None = None
    told_count: int = 0
    told_severity: Severity | None = None


def word_on(standing: Standing, now: datetime) -> str | None:
    """Return what there is to tell, ``announced``, ``graver``, ``grew``, ``reminded``, or None.

    Args:
        standing: The incident.
        now: The hub's time.
    """
    if standing.shown == 0:
        return None
    if standing.announced_at is None:
        return "announced" if standing.unacked else None
    if standing.told_severity is not None and standing.severity > standing.told_severity:
        return "graver"
    if standing.shown > standing.told_count:
        return "grew"
    pace, last = PACES.get(standing.severity), standing.told_at or standing.announced_at
    if pace and standing.unacked and (now - last).total_seconds() >= pace.repeat:
        return "reminded"
    return None


def floods(announced: int, *, flooded: bool) -> bool:
    """Return whether a seat is flooded, by its announcements within the window.

    >>> floods(11, flooded=False), floods(5, flooded=True), floods(4, flooded=True)
    (True, True, False)
    """
    return announced >= FLOOD_ENDS if flooded else announced > FLOOD_BEGINS


async def tell(turn: Turn) -> None:
    """Tell of incidents what is due; begin and end floods; give the digest."""
    now = turn.now
    parameters: dict[str, Any] = {
        "since": now - timedelta(seconds=FLOOD_WINDOW_S),
        "most": FLOOD_BEGINS + 1,
    }
    seats = await select(turn.conn, _SEATS, parameters)
    flooded = [await _turn_flood(turn, seat) for seat in seats]
    rows = await select(turn.conn, _DUE, {"now": now, "most": _MOST})
    held: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    told = []
    for row in rows:
        standing = _standing(row)
        word = word_on(standing, now)
        loud = word is not None
        if word is not None and standing.severity < Severity.RED and flooded and all(flooded):
            loud = standing.severity is Severity.ORANGE
            if loud:
                held[next(iter(row["grid_codes"]), "")].append(row)
        elif word is not None:
            turn.entries.append(_entry(row, word))
        told.append(_after(row, word, now, loud=loud))
    for grid_code, several in sorted(held.items()):
        turn.entries.append(_grouped(grid_code, several))
    if told:
        await turn.conn.execute(_TOLD, [Jsonb(told, dumps=msgspec.json.encode)])
    for seat in seats:
        await _digest(turn, seat)


async def _turn_flood(turn: Turn, seat: Mapping[str, Any]) -> bool:
    """Begin or end the flood of a seat; return whether there is one."""
    before = seat["flood_since"] is not None
    after = floods(seat["announced"], flooded=before)
    if before is not after:
        await turn.conn.execute(_FLOOD, [turn.now if after else None, seat["seat"]])
        detail = {
            "announced": seat["announced"],
            "window_s": FLOOD_WINDOW_S,
            "since": seat["flood_since"] or turn.now,
        }
        turn.entries.append(_line(seat["seat"], "flood_begun" if after else "flood_ended", detail))
    return after


async def _digest(turn: Turn, seat: Mapping[str, Any]) -> None:
    """Name once an hour what was only counted."""
    now, since = turn.now, seat["digest_at"]
    if since is not None and (now - since).total_seconds() < DIGEST_S:
        return
    await turn.conn.execute(_DIGESTED, [now, seat["seat"]])
    if since is None:
        return
    parameters = {"seat": seat["seat"], "since": since, "now": now}
    rows = await select(turn.conn, _COUNTED, parameters)
    if rows:
        counts = {Severity(row["severity"]).name.lower(): row["incidents"] for row in rows}
        detail = {"since": since, "until": now, "incidents": counts}
        turn.entries.append(_line(seat["seat"], "digest", detail))


def _standing(row: Mapping[str, Any]) -> Standing:
    before = row["told_severity"]
    return Standing(
        severity=Severity(row["severity"]),
        shown=row["shown"],
        unacked=row["unacked"],
        announced_at=row["announced_at"],
        told_at=row["told_at"],
        told_count=row["told_count"],
        told_severity=None if before is None else Severity(before),
    )


def _after(
    row: Mapping[str, Any], word: str | None, now: datetime, *, loud: bool
) -> Mapping[str, Any]:
    """Return how far an incident was told, and when to look again."""
    pace = PACES.get(Severity(row["severity"])) or Pace(0, DIGEST_S, DIGEST_S)
    return {
        "incident_id": row["incident_id"],
        "notify_at": now + timedelta(seconds=pace.interval),
        "announced_at": row["announced_at"] or (now if word else None),
        "told_at": now if word and loud else row["told_at"],
        "told_count": row["shown"] if word else row["told_count"],
        "told_severity": row["severity"] if word else row["told_severity"],
    }


def _entry(row: Mapping[str, Any], word: str) -> Entry:
    return Entry(
        log="alarm",
        actor=HUB,
        object="incident",
        object_id=str(row["incident_id"]),
        action=word,
        detail={
            "severity": Severity(row["severity"]).name.lower(),
            "audience": row["audience"],
            "title": {"zh": row["title_zh"], "en": row["title_en"]},
            "cause_node": row["cause_node"],
            "alarms": row["shown"],
            "suppressed": row["suppressed_count"],
            "unacked": row["unacked"],
            "grid_codes": row["grid_codes"][:_NAMED],
            "loud": True,
        },
    )


def _grouped(grid_code: str, rows: Sequence[Mapping[str, Any]]) -> Entry:
    """Return one word on all orange incidents of a grid cell, in a flood."""
    detail = {
        "incidents": [row["incident_id"] for row in rows[:_NAMED]],
        "count": len(rows),
        "severity": Severity.ORANGE.name.lower(),
        "grid_code": grid_code,
        "loud": True,
    }
    return _line(grid_code or "-", "announced_together", detail)


def _line(name: str, action: str, detail: dict[str, Any]) -> Entry:
    return Entry(
        log="alarm", actor=HUB, object="system", object_id=name, action=action, detail=detail
    )
