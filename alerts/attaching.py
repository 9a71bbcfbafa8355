"""A new alarm of an incident that has a case goes to that case (并入): nothing is filed twice."""

from typing import Final

from psycopg import sql

from alerts.alarm import HUB
from alerts.case import Case
from alerts.case_rows import lock_case
from alerts.journal import Entry
from alerts.message import Evidence
from alerts.rows import select
from core.db import Connection

# the index that allows one open case an incident and department
_OPEN: Final = sql.SQL("""
SELECT case_no FROM hub.case
 WHERE incident_id = %(incident_id)s
   AND coalesce(handling_dept, owner_dept, '') = coalesce(%(dept_code)s, '')
   AND state NOT IN ('closed', 'evaluated', 'rejected', 'void', 'merged')
 ORDER BY case_no LIMIT 1
""")


async def find_open_case(
    conn: Connection, incident_id: int | None, dept_code: str | None
) -> Case | None:
    """Return the open case of an incident with a department, locked; None: there is none."""
    if incident_id is None:
        return None
    parameters = {"incident_id": incident_id, "dept_code": dept_code}
    rows = await select(conn, _OPEN, parameters)
    return await lock_case(conn, rows[0]["case_no"]) if rows else None


def attached(case: Case, evidence: Evidence, actor: str = HUB) -> Entry:
    """Return the line of the log of an alarm that joins a case; no clock of it begins anew."""
    alarm, facts = evidence.alarm, evidence.facts
    return Entry(
        log="case",
        actor=actor,
        object="case",
        object_id=case.case_no,
        action="alarm_attached",
        before=case.state,
        after=case.state,
        detail={
            "case_no": case.case_no,
            "incident_id": case.incident_id,
            "alarm_id": alarm.alarm_id,
            "device_id": facts.device_id,
            "device_name": facts.called,
            "rule_id": evidence.rule.rule_id,
            "severity": alarm.severity.name.lower(),
            "text": {"zh": alarm.explain_zh, "en": alarm.explain_en},
            "lon": facts.lon,
            "lat": facts.lat,
            "version": case.version,
        },
    )
