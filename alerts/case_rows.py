"""Cases and work orders in their tables: locked, added and changed."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from alerts.case import Case, CaseState, Order, OrderState
from alerts.office import Office
from alerts.rows import columns_of, insert, select, values_of
from core.db import Connection
from core.model import Severity

_CASE: Final = sql.SQL("SELECT {} FROM hub.case WHERE case_no = %(case_no)s FOR UPDATE").format(
    columns_of(Case)
)
_ORDER: Final = sql.SQL(
    "SELECT {} FROM hub.work_order WHERE case_no = %(case_no)s AND role = 'main'"
    " ORDER BY issued_at DESC, order_no DESC LIMIT 1 FOR UPDATE"
).format(columns_of(Order))
_COUNT: Final = sql.SQL("SELECT count(*) AS orders FROM hub.work_order WHERE case_no = %(case_no)s")
_ALARMS: Final = sql.SQL("SELECT alarm_id FROM hub.alarm WHERE case_no = %(case_no)s")
_SERIAL: Final = sql.SQL("""
INSERT INTO hub.case_count AS c (year, last) VALUES (%(year)s, 1)
ON CONFLICT (year) DO UPDATE SET last = c.last + 1 RETURNING last AS serial
""")


async def next_case_no(conn: Connection, office: Office, at: datetime) -> str:
    """Return the next case number of the year, without a gap: it is given back with the case."""
    (row,) = await select(conn, _SERIAL, {"year": at.astimezone(office.zone).year})
    return office.number(row["serial"], at)


async def next_order_no(conn: Connection, case_no: str) -> str:
    """Return the next number of a work order of a case that is locked or new."""
    (row,) = await select(conn, _COUNT, {"case_no": case_no})
    return f"{case_no}-W{row['orders'] + 1}"


async def lock_case(conn: Connection, case_no: str) -> Case | None:
    """Return a case, locked to the end of the transaction; its alarms are locked before it."""
    rows = await select(conn, _CASE, {"case_no": case_no})
    return _case(rows[0]) if rows else None


async def lock_order(conn: Connection, case_no: str) -> Order | None:
    """Return the newest main work order of a case, locked."""
    rows = await select(conn, _ORDER, {"case_no": case_no})
    return replace(Order(**rows[0]), state=OrderState(rows[0]["state"])) if rows else None


async def alarms_of(conn: Connection, case_no: str) -> list[int]:
    """Return the numbers of a case's alarms."""
    return [row["alarm_id"] for row in await select(conn, _ALARMS, {"case_no": case_no})]


async def add_case(conn: Connection, case: Case) -> None:
    """Add a case."""
    await insert(conn, "case", values_of(case), "case_no")


async def add_order(conn: Connection, order: Order) -> None:
    """Add a work order."""
    await insert(conn, "work_order", values_of(order), "order_no")


def _case(row: Mapping[str, Any]) -> Case:
    return replace(Case(**row), state=CaseState(row["state"]), severity=Severity(row["severity"]))
