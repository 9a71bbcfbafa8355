"""What a stretch of the event log touched, as it stands now.

An entry of the log says what happened; a screen wants the thing it happened to. So each stretch
that goes over the feed is followed by the rows it touched. A row read a moment later than its entry
is only newer, and what made it so comes next.
"""

from collections.abc import Iterable
from typing import Any, Final

from api.reads.alarms import Alarm, alarms_by_id
from api.reads.cases import Case, cases_by_no
from api.reads.incidents import Incident, read_incidents
from api.shapes import Shape
from api.store import Look, Row

_OF_ORDERS: Final = "SELECT case_no FROM hub.work_order WHERE order_no = ANY (%s::text[])"


class Touched(Shape):
    """Rows that changed."""

    cursor: int
    """The last entry of the stretch; a row known from a later one is newer."""
    at: str
    """When that entry was made."""
    incidents: list[Incident]
    alarms: list[Alarm]
    cases: list[Case]


async def read_touched(look: Look, entries: Iterable[Row]) -> Touched:
    """Return what some entries of the event log touched, incidents by way of alarms and cases."""
    ids: dict[str, set[str]] = {}
    cursor, at = 0, ""
    for entry in entries:
        ids.setdefault(entry["object"], set()).add(entry["object_id"])
        cursor, at = entry["event_id"], entry["at"].isoformat()
    numbers = _numbers(ids.get("alarm"))
    names = set(ids.get("case", ()))
    if orders := ids.get("work_order"):
        names |= {row["case_no"] for row in await look.rows(_OF_ORDERS, [list(orders)])}
    alarms = await alarms_by_id(look, numbers) if numbers else []
    cases = await cases_by_no(look, sorted(names)) if names else []
    groups = set(_numbers(ids.get("incident")))
    groups |= {row["incident_id"] for row in [*alarms, *cases] if row["incident_id"] is not None}
    shown: dict[str, Any] = {
        "cursor": cursor,
        "at": at,
        "incidents": await read_incidents(look, sorted(groups)),
        "alarms": alarms,
        "cases": cases,
    }
    return Touched.model_validate(shown)


def _numbers(ids: Iterable[str] | None) -> list[int]:
    return sorted(int(name) for name in ids or () if name.isascii() and name.isdecimal())
