"""Which cases and incidents may be one and the same (拟并案): near in place and in time."""

from datetime import datetime, timedelta
from typing import Final

from psycopg import sql

from alerts.case import Case
from alerts.rows import select
from core.db import Connection

NEAR_M: Final = 50.0
"""So near, in metres; ours."""
NEAR: Final = timedelta(hours=24)
"""And so close in time; ours."""

# metres on a sphere, small enough to be flat; 111,195 m are a degree
_NEAR: Final = sql.SQL("""
WITH spot AS (SELECT %(lon)s::float8 AS lon, %(lat)s::float8 AS lat), near AS (
    SELECT c.case_no AS into_no, NULL::bigint AS incident_id, c.lon, c.lat, c.source
      FROM hub.case c, spot s
     WHERE c.case_no <> %(case_no)s
       AND (c.class_code = %(class_code)s OR (c.source = 'sensor') <> (%(source)s = 'sensor'))
       AND c.state NOT IN ('closed', 'evaluated', 'rejected', 'void', 'merged')
       AND c.reported_at BETWEEN %(from)s AND %(until)s
       AND c.lat BETWEEN s.lat - %(metres)s / 111195.0 AND s.lat + %(metres)s / 111195.0
     UNION ALL
    SELECT NULL, a.incident_id, a.lon, a.lat, 'sensor'
      FROM (SELECT DISTINCT ON (incident_id) * FROM hub.alarm
             WHERE case_no IS NULL AND audience = 'city' AND incident_id IS NOT NULL
               AND raised_at BETWEEN %(from)s AND %(until)s
             ORDER BY incident_id, alarm_id) AS a, spot s
     WHERE %(source)s <> 'sensor' AND a.condition_state <> 'cleared'
       AND a.lat BETWEEN s.lat - %(metres)s / 111195.0 AND s.lat + %(metres)s / 111195.0
), apart AS (
    SELECT n.*, sqrt(((n.lat - s.lat) * 111195.0) ^ 2
                     + ((n.lon - s.lon) * 111195.0 * cos(radians(s.lat))) ^ 2) AS metres
      FROM near n, spot s
)
""")
_PROPOSE: Final = sql.SQL("""
{apart}
INSERT INTO hub.merge_proposal (case_no, into_no, incident_id, metres, proposed_at)
SELECT CASE WHEN turned THEN into_no ELSE %(case_no)s END,
       CASE WHEN turned THEN %(case_no)s ELSE into_no END, incident_id, metres, %(now)s
  FROM (SELECT *, %(source)s = 'sensor' AND source <> 'sensor' AS turned FROM apart) AS a
 WHERE metres <= %(metres)s ORDER BY metres LIMIT 5
ON CONFLICT DO NOTHING
RETURNING case_no, into_no, incident_id, metres
""").format(apart=_NEAR)


async def propose(conn: Connection, case: Case, now: datetime) -> list[dict[str, object]]:
    """Propose what a new case may be the same as; what people reported goes into what sensors saw.

    Args:
        conn: The transaction.
        case: The case, whose row is written.
        now: The hub's time.

    Returns:
        The proposals, nearest first.
    """
    if case.lon is None or case.lat is None:
        return []
    return await select(
        conn,
        _PROPOSE,
        {
            "case_no": case.case_no,
            "source": case.source,
            "class_code": case.class_code,
            "lon": case.lon,
            "lat": case.lat,
            "from": case.reported_at - NEAR,
            "until": case.reported_at + NEAR,
            "metres": NEAR_M,
            "now": now,
        },
    )
