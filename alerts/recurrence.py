"""Trouble that comes back after its case was closed (复发) reopens it; no new case is made."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from psycopg import sql

from alerts.alarm import HUB, Alarm
from alerts.alarm_rows import Key
from alerts.case import REWORK_SHARE, WATCH, CaseState, move_order, recur
from alerts.case_rows import lock_case
from alerts.clock_rows import handle_due, run_clocks
from alerts.facts import Facts
from alerts.filing import entry_of, issue_order
from alerts.journal import Entry
from alerts.message import REWORK, Evidence
from alerts.office import Office
from alerts.rows import select, update
from core.db import Connection
from core.model import Audience, Severity
from devices import KINDS
from devices.kind import AlarmRule

_WATCHED: Final = sql.SQL("""
SELECT DISTINCT ON (a.device_no, a.rule_id) a.device_no, a.rule_id, c.case_no
  FROM hub.alarm a JOIN hub.case c USING (case_no)
 WHERE a.device_no = ANY(%(devices)s) AND c.state = 'closed' AND c.closed_at > %(after)s
 ORDER BY a.device_no, a.rule_id, c.closed_at DESC
""")

Watched = Mapping[Key, str]
"""The case that is watched, by device and rule of its alarms."""


def may_recur(alarm: Alarm, rule: AlarmRule, action: str) -> bool:
    """Return whether what happened to an alarm is grave enough to reopen a case."""
    return (
        action in {"raised", "severity_raised"}
        and alarm.case_no is None
        and alarm.severity >= Severity.YELLOW
        and alarm.suppression == "none"
        and not alarm.retroactive
        and rule.audience is Audience.CITY
    )


def family(kind: str, rule_id: str) -> frozenset[str]:
    """Return the rules that speak of the same trouble: those that one watch finds together.

    >>> sorted(family("manhole_cover", "cover_shift"))
    ['cover_open', 'cover_rocking', 'cover_settling', 'cover_shift']
    >>> family("gateway", "offline")
    frozenset({'offline'})
    """
    watches = KINDS[kind].watches if kind in KINDS else ()
    return frozenset({rule_id}).union(
        *(watch.rule_ids for watch in watches if rule_id in watch.rule_ids)
    )


async def watched_cases(conn: Connection, devices: Collection[int], now: datetime) -> Watched:
    """Return the closed cases of devices whose watch goes on."""
    if not devices:
        return {}
    rows = await select(conn, _WATCHED, {"devices": list(devices), "after": now - WATCH})
    return {(row["device_no"], row["rule_id"]): row["case_no"] for row in rows}


def case_for(watched: Watched, facts: Facts, rule: AlarmRule) -> str | None:
    """Return the case that an alarm of this rule on this device is the return of."""
    rules = sorted(family(facts.kind, rule.rule_id))
    return next((no for name in rules if (no := watched.get((facts.device_no, name)))), None)


async def reopen(
    conn: Connection, case_no: str, evidence: Evidence, office: Office, now: datetime
) -> list[Entry]:
    """Reopen a case for an alarm, with a new work order for whoever had it.

    Args:
        conn: The transaction.
        case_no: The case.
        evidence: The new alarm; the caller writes its ``case_no``.
        office: Who sends the order.
        now: The hub's time.

    Returns:
        The lines of the log; empty: it is watched no more.
    """
    before = await lock_case(conn, case_no)
    if before is None or before.state is not CaseState.CLOSED or before.handling_dept is None:
        return []
    due = await handle_due(conn, before, now, share=REWORK_SHARE)
    case, step = recur(before, evidence.rule.rule_id, now, due=due)
    case = replace(case, version=before.version + 1)
    order = await issue_order(
        conn,
        case,
        evidence,
        office,
        now,
        message_type=REWORK,
        due_at=case.handle_due_2,
        instruction=f"复发：{evidence.alarm.explain_zh}",
    )
    signed, _ = move_order(order, "signed", handler=case.handler, signed_at=now)
    await update(conn, "work_order", "order_no", order, signed)
    await update(conn, "case", "case_no", before, case)
    await run_clocks(conn, case, ["recurred"], now, evidence.rule)
    return [entry_of(case, step, evidence, HUB, signed)]
