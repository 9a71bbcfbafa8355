"""What staff can do to alarms and cases, as the API calls it.

``alerts`` implements it and ``cityhub`` injects it; the API knows only this shape. Each action
checks the state and the version it is given, appends to the event log and to ``audit``, and raises
:class:`core.errors.ConflictError` with a sentence that says who acted first.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from api.case_desk import CaseDesk, Filing, Outcome

__all__ = ["Actions", "Filing", "Outcome"]


class Actions(CaseDesk, Protocol):
    """The actions of staff. ``version`` is what the person saw; None: whatever it is now."""

    async def acknowledge(
        self, alarm_id: int, *, actor: str, version: int | None = None
    ) -> Outcome:
        """Say that a person has seen the alarm."""

    async def undo_acknowledge(
        self, alarm_id: int, *, actor: str, version: int | None = None
    ) -> Outcome:
        """Take an acknowledgement back, within seconds."""

    async def reset_alarm(
        self, alarm_id: int, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Release a latched alarm whose condition is over."""

    async def shelve(
        self,
        alarm_id: int,
        *,
        actor: str,
        reason: str,
        minutes: float,
        once: bool = False,
        version: int | None = None,
    ) -> Outcome:
        """Keep an alarm quiet for a while (搁置), within the limits of the actor's role."""

    async def unshelve(self, alarm_id: int, *, actor: str, version: int | None = None) -> Outcome:
        """Take an alarm off the shelf."""

    async def open_window(
        self,
        *,
        actor: str,
        scope: str,
        targets: Sequence[str],
        reason: str,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
        order_no: str | None = None,
    ) -> Outcome:
        """Take devices out of service for a while (检修窗口)."""

    async def end_window(
        self, window_id: int, *, actor: str, version: int | None = None
    ) -> Outcome:
        """End a maintenance window before its time."""

    async def acknowledge_incident(
        self, incident_id: int, *, actor: str, version: int | None = None
    ) -> Outcome:
        """Say that a person has seen all alarms of an incident (成组确认)."""

    async def merge_incidents(
        self,
        incident_id: int,
        *,
        actor: str,
        reason: str,
        others: Sequence[int],
        version: int | None = None,
    ) -> Outcome:
        """Put the alarms of other incidents into one (合并)."""

    async def split_incident(
        self,
        incident_id: int,
        *,
        actor: str,
        reason: str,
        alarms: Sequence[int],
        version: int | None = None,
    ) -> Outcome:
        """Take alarms out of an incident into a new one (拆分)."""

    async def file(self, alarm_id: int, *, actor: str, version: int | None = None) -> Filing:
        """Make a case (立案) of the alarm's incident."""

    async def dispatch(
        self, case_no: str, *, actor: str, dept: str, version: int | None = None
    ) -> Outcome:
        """Send the case to a department (派遣)."""

    async def sign(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """Take the work order on (签收)."""

    async def arrive(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """Say that the crew is on site (到场)."""

    async def feedback(
        self, case_no: str, *, actor: str, note: str, version: int | None = None
    ) -> Outcome:
        """Report the work done (反馈)."""

    async def return_(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Give a wrongly dispatched case back (退办)."""

    async def verify(
        self, case_no: str, *, actor: str, passed: bool, note: str, version: int | None = None
    ) -> Outcome:
        """Judge the work on site (核查); a pass closes the case, the only way to close one."""

    async def resend(self, outbox_id: int, *, actor: str) -> int:
        """Bring a dead letter back to life (重发); return the id of the event."""
