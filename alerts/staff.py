"""What all actions of staff share: one transaction with its audit, its version and its rules."""

from dataclasses import dataclass, replace
from typing import Any

from alerts.audit import Act
from alerts.office import Office
from core.clock import Clock
from core.db import Connection, Pool
from devices.rulebook import Rulebook


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action left behind.

    Attributes:
        version: The new version of what it changed.
        event_id: Its entry in the log of events.
        window_id: The maintenance window, where it was about one.
        track_id: The request for an extension or a suspension, where it was about one.
    """

    version: int
    event_id: int
    window_id: int | None = None
    track_id: int | None = None


@dataclass(frozen=True, slots=True)
class Filing:
    """What filing an alarm left behind: the new case, its version, and the event."""

    case_no: str
    version: int
    event_id: int


class Staff:
    """Where staff act.

    Args:
        pool: The database.
        clock: The hub's time.
        connector: Which platform takes work orders; None: none.
        office: The command centre's particulars; its connector is replaced by ``connector``.
    """

    def __init__(
        self, pool: Pool, clock: Clock, connector: str | None, *, office: Office | None = None
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._office = replace(office or Office(), connector=connector)
        self._book = Rulebook()

    async def _rules(self, conn: Connection) -> Rulebook:
        """Return the rules of the city as they are now."""
        await self._book.refresh(conn)
        return self._book


def act_of(actor: str, action: str, target: str, target_id: int | str, **detail: Any) -> Act:
    """Return what somebody wants to do."""
    return Act(actor=actor, action=action, object=target, object_id=str(target_id), detail=detail)
