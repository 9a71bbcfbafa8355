"""What is evaluated: cases and alarms with the times that the formulas ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from api.evaluation.period import Period
from api.store import TENANT, Look

# Twins are cases merged into another: the survivor inherits who told first.
_CASES: Final = """
WITH twin AS (
    SELECT merged_into AS case_no,
           min(reported_at) FILTER (WHERE source = 'sensor') AS machine_at,
           min(reported_at) FILTER (WHERE source IN ('hotline', 'public')) AS citizen_at
      FROM hub.case WHERE tenant_id = %(tenant)s AND merged_into IS NOT NULL GROUP BY merged_into)
SELECT c.case_no, c.source, c.state, c.class_code, coalesce(c.grid_code, '') AS grid_code,
       coalesce(c.handling_dept, c.owner_dept, '') AS dept_code,
       c.reported_at, c.filed_at, c.feedback_at, c.verified_at, c.closed_at, c.first_closed_at,
       c.handle_due_at, c.paused_s, c.extension_count, c.return_count, c.rework_count,
       c.recurrence_count, c.suspended, coalesce(c.verify_method, '') AS verify_method,
       c.dispatched_at, coalesce(o.first_at, c.dispatched_at) AS first_dispatched_at,
       least(CASE WHEN c.source = 'sensor' THEN c.reported_at END, t.machine_at, a.raised_at)
           AS machine_at,
       least(CASE WHEN c.source IN ('hotline', 'public') THEN c.reported_at END, t.citizen_at)
           AS citizen_at
  FROM hub.case c
  LEFT JOIN twin t USING (case_no)
  LEFT JOIN LATERAL (SELECT min(issued_at) AS first_at FROM hub.work_order w
                      WHERE w.case_no = c.case_no AND w.role = 'main') o ON true
  LEFT JOIN LATERAL (SELECT min(raised_at) AS raised_at FROM hub.alarm
                      WHERE alarm.case_no = c.case_no) a ON true
 WHERE c.tenant_id = %(tenant)s AND c.reported_at < %(end)s
   AND greatest(c.reported_at, c.filed_at, o.first_at, c.dispatched_at, c.feedback_at,
                c.verified_at, c.closed_at, c.first_closed_at, c.handle_due_at) >= %(start)s
 ORDER BY c.case_no
"""
_ALARMS: Final = """
SELECT a.raised_at, a.acked_at, coalesce(c.state IN ('rejected', 'void'), false) AS is_false,
       coalesce(a.grid_code, '') AS grid_code, coalesce(d.dept_code, p.dept_code, '') AS dept_code,
       coalesce(p.class_code, '') AS class_code
  FROM hub.alarm a
  JOIN hub.device d USING (device_no)
  LEFT JOIN hub.component p ON p.component_code = a.component_code
  LEFT JOIN hub.case c ON c.case_no = a.case_no
 WHERE a.tenant_id = %(tenant)s AND NOT a.retroactive
   AND a.raised_at >= %(start)s AND a.raised_at < %(end)s
"""
_SHIFTS: Final = "SELECT shift_code, name_zh, name_en, begins, ends FROM hub.shift ORDER BY begins"

_HANDLED: Final = frozenset({"feedback", "verifying", "closed", "evaluated"})
_CLOSED: Final = frozenset({"closed", "evaluated"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFact:
    """A case; attributes are columns of ``hub.case`` but for those said here.

    Attributes:
        first_dispatched_at: When its first work order went out, returned or not.
        machine_at: When a device told first; None: none did.
        citizen_at: When a citizen told first, 12345 or other; None: none did.
    """

    case_no: str
    source: str
    state: str
    class_code: str = ""
    grid_code: str = ""
    dept_code: str = ""
    reported_at: datetime
    filed_at: datetime | None = None
    dispatched_at: datetime | None = None
    first_dispatched_at: datetime | None = None
    feedback_at: datetime | None = None
    verified_at: datetime | None = None
    closed_at: datetime | None = None
    first_closed_at: datetime | None = None
    handle_due_at: datetime | None = None
    paused_s: float = 0.0
    extension_count: int = 0
    return_count: int = 0
    rework_count: int = 0
    recurrence_count: int = 0
    suspended: bool = False
    verify_method: str = ""
    machine_at: datetime | None = None
    citizen_at: datetime | None = None

    @property
    def began_at(self) -> datetime:
        """When it came up: what its shift goes by."""
        return self.reported_at

    @property
    def done_at(self) -> datetime | None:
        """When it was closed, and stayed so."""
        return self.closed_at if self.state in _CLOSED else None

    @property
    def handled_at(self) -> datetime | None:
        """When its work was done: at the feedback that stands; recovered by itself: verified."""
        if self.state not in _HANDLED:
            return None  # a rework or a recurrence took the feedback back
        return self.feedback_at or (self.verified_at if self.state in _CLOSED else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmFact:
    """An alarm that sounded, or would have.

    Attributes:
        is_false: Its case was refused or voided: what it told was not so.
    """

    raised_at: datetime
    acked_at: datetime | None = None
    is_false: bool = False
    class_code: str = ""
    grid_code: str = ""
    dept_code: str = ""
    source: str = "sensor"

    @property
    def began_at(self) -> datetime:
        """When it was raised: what its shift goes by."""
        return self.raised_at


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift by the city's clock; one that ends at or before its begin ends the day after."""

    shift_code: str
    name_zh: str
    name_en: str
    begins: time
    ends: time

    def has(self, at: datetime, zone: ZoneInfo) -> bool:
        """Tell whether a time falls in it."""
        local = at.astimezone(zone).time()
        if self.begins < self.ends:
            return self.begins <= local < self.ends
        return local >= self.begins or local < self.ends


async def read_cases(look: Look, period: Period) -> list[CaseFact]:
    """Return the cases that anything happened to, or was due of, in a period."""
    asked = {"tenant": TENANT, "start": period.start, "end": period.end}
    return [CaseFact(**row) for row in await look.rows(_CASES, asked)]


async def read_alarms(look: Look, period: Period) -> list[AlarmFact]:
    """Return the alarms raised in a period, but for history that came late."""
    asked = {"tenant": TENANT, "start": period.start, "end": period.end}
    return [AlarmFact(**row) for row in await look.rows(_ALARMS, asked)]


async def read_shifts(look: Look) -> list[Shift]:
    """Return the city's shifts."""
    return [Shift(**row) for row in await look.rows(_SHIFTS)]


def shift_of(at: datetime, shifts: Sequence[Shift], zone: ZoneInfo) -> str:
    """Return the code of the shift that a time falls in; empty: none."""
    return next((shift.shift_code for shift in shifts if shift.has(at, zone)), "")
