"""Clocks of cases in their table, and the limits they run by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast

from psycopg import sql

from alerts.calendar_rows import load_calendar
from alerts.case import Case
from alerts.clocks import CaseClock, Limit, Name, turn
from alerts.rows import columns_of, select, values_of
from alerts.worktime import Calendar, Unit
from core.db import Connection
from core.model import Severity
from devices.kind import AlarmRule

_LIMITS: Final = sql.SQL("""
SELECT DISTINCT ON (clock) clock, class_code, amount, unit, source FROM hub.case_limit
 WHERE (category IS NULL OR category = %(category)s)
   AND class_code = left(%(class_code)s, length(class_code))
   AND (severity IS NULL OR severity = %(severity)s)
   AND valid_from <= %(at)s AND %(at)s < valid_to
 ORDER BY clock, length(class_code) DESC, severity NULLS LAST, category NULLS LAST,
          valid_from DESC, limit_id DESC
""")
_CLOCKS: Final = sql.SQL(
    "SELECT {} FROM hub.case_clock WHERE case_no = %(case_no)s ORDER BY started_at, clock, round"
).format(columns_of(CaseClock))
_NAMES: Final = [sql.Identifier(name) for name in CaseClock.__dataclass_fields__]
_PUT: Final = sql.SQL(
    "INSERT INTO hub.case_clock ({names}) VALUES ({values})"
    " ON CONFLICT (case_no, clock, round) DO UPDATE SET ({names}) = ROW ({new})"
).format(
    names=sql.SQL(", ").join(_NAMES),
    values=sql.SQL(", ").join(map(sql.Placeholder, CaseClock.__dataclass_fields__)),
    new=sql.SQL(", ").join(sql.SQL("excluded.{}").format(name) for name in _NAMES),
)
_HOUR_S: Final = 3600.0


async def handle_limit(
    conn: Connection,
    category: str,
    class_code: str,
    severity: Severity,
    at: datetime,
    *,
    rule: AlarmRule | None = None,
) -> Limit:
    """Return how long handling may take: by the city's table for the class, else by the rule.

    Args:
        conn: The database.
        category: ``component`` or ``event``.
        class_code: Class and sub-class.
        severity: How grave it is.
        at: When: limits have dates of validity.
        rule: The rule of the alarm; None: people reported it.
    """
    named = {"category": category, "class_code": class_code, "severity": severity, "at": at}
    for row in await select(conn, _LIMITS, named):
        if row["clock"] == "handle" and (row["class_code"] or rule is None):
            return Limit(row["amount"], row["unit"], row["source"])
    hours = rule.handle_hours if rule else 24.0
    return Limit(hours, "urgent_hours", rule.source if rule else "ours")


def limit_seconds(limit: Limit) -> float:
    """Return a limit as seconds of its own kind of time."""
    if limit.unit == "urgent_hours":
        return limit.amount * _HOUR_S
    return Calendar().seconds(limit.amount, limit.unit)


async def handle_due(
    conn: Connection, case: Case, now: datetime, *, share: float = 1.0
) -> datetime | None:
    """Return when a case must be handled that is handled from now on; None: by its seconds.

    Args:
        conn: The database.
        case: The case, with its limit.
        now: The hub's time.
        share: Of the limit: a rework has less.
    """
    if case.handle_amount is None or case.limit_unit == "urgent_hours":
        return None
    calendar = await load_calendar(conn, now)
    return calendar.add(now, case.handle_amount * share, cast(Unit, case.limit_unit))


async def load_clocks(conn: Connection, case_no: str) -> list[CaseClock]:
    """Return the clocks of a case that is locked, or new; oldest first."""
    return [CaseClock(**row) for row in await select(conn, _CLOCKS, {"case_no": case_no})]


async def save_clocks(
    conn: Connection, before: Sequence[CaseClock], after: Sequence[CaseClock]
) -> None:
    """Write the clocks that are new or another now."""
    old = set(before)
    for clock in after:
        if clock not in old:
            await conn.execute(_PUT, values_of(clock))


async def run_clocks(
    conn: Connection, case: Case, steps: Sequence[str], now: datetime, rule: AlarmRule | None
) -> None:
    """Start, stop and pause the clocks of a case by what just happened to it.

    Args:
        conn: The transaction, which holds the case's lock.
        case: The case as it now stands; its row is written.
        steps: What happened, by the names in the log, in order.
        now: The hub's time.
        rule: The rule of its alarm; None: people reported it.
    """
    if not steps:
        return
    clocks = await load_clocks(conn, case.case_no)
    calendar = await load_calendar(conn, now)
    named = {
        "category": case.category,
        "class_code": case.class_code,
        "severity": case.severity,
        "at": now,
    }
    limits: dict[str, Limit] = {}
    for row in await select(conn, _LIMITS, named):
        limits[row["clock"]] = Limit(row["amount"], row["unit"], row["source"])
    if rule is not None and rule.on_site_minutes is not None and "on_site" not in limits:
        limits["on_site"] = Limit(rule.on_site_minutes / 60, "urgent_hours", rule.source)
    if case.handle_amount is not None:
        source = rule.source if rule else limits["handle"].source if "handle" in limits else "ours"
        limits["handle"] = Limit(case.handle_amount, cast(Unit, case.limit_unit), source)

    def limit_of(name: Name) -> Limit | None:
        return limits.get(name)

    after = clocks
    for action in steps:
        after = turn(after, case.case_no, action, now=now, limit_of=limit_of, calendar=calendar)
    await save_clocks(conn, clocks, after)
