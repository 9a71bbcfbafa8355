"""Who is told when nobody takes note (升级): the ladder and the roster 值班表, both city data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from alerts.passing import Ladder, Rung
from alerts.rows import select
from alerts.suppression import Role
from core.db import Connection
from core.model import Severity

_LADDER: Final = sql.SQL(
    "SELECT severity, level, after_s, role FROM hub.escalation ORDER BY severity, level"
)
_ROSTER: Final = sql.SQL("""
SELECT role, person, contact FROM hub.roster
 WHERE coalesce(starts_at, '-infinity') <= %(now)s AND coalesce(ends_at, 'infinity') > %(now)s
 ORDER BY roster_id
""")
_ROLE: Final = sql.SQL("SELECT role FROM hub.staff WHERE name = %(name)s")


@dataclass(frozen=True, slots=True)
class Duty:
    """A person on duty."""

    role: str
    person: str
    contact: str


@dataclass(frozen=True, slots=True)
class Roster:
    """The ladder, and who is on duty.

    Attributes:
        ladder: The steps by severity.
        duties: Who is on duty.
    """

    ladder: Ladder = field(default_factory=dict)
    duties: Sequence[Duty] = ()

    def on_duty(self, role: str) -> list[dict[str, Any]]:
        """Return the people of a role; none: nobody is named, and the seat is told again."""
        return [
            {"person": duty.person, "contact": duty.contact}
            for duty in self.duties
            if duty.role == role
        ]


async def load_roster(conn: Connection, now: datetime) -> Roster:
    """Return the ladder, and who is on duty now."""
    ladder: dict[Severity, list[Rung]] = {}
    for row in await select(conn, _LADDER, {}):
        rung = Rung(row["level"], row["after_s"], row["role"])
        ladder.setdefault(Severity(row["severity"]), []).append(rung)
    duties = [Duty(**row) for row in await select(conn, _ROSTER, {"now": now})]
    return Roster(ladder, duties)


async def role_of(conn: Connection, name: str) -> Role:
    """Return what a member of staff may decide; who is not named is an operator."""
    rows = await select(conn, _ROLE, {"name": name})
    return Role(rows[0]["role"]) if rows else Role.OPERATOR
