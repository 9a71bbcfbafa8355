"""The command centre's own particulars: how its cases are numbered, and who it is to others."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

CENTRE: Final = "centre"
"""Who owns a case that no rule of routing gives to anybody: the centre's manual queue."""


@dataclass(frozen=True, slots=True)
class Office:
    """One city's command centre.

    Attributes:
        connector: Which platform takes its work orders; None: they stay on the hub's own desk.
        prefix: How its case numbers begin.
        zone: The city's time zone: a case number carries the city's date.
        source: The ``source`` of its CloudEvents, a URI reference.
    """

    connector: str | None = None
    prefix: str = "FY"
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    source: str = "cityhub/fenyang"

    def number(self, serial: int, at: datetime) -> str:
        """Return a case number.

        Args:
            serial: Which case of the year it is.
            at: When the case was reported. Aware.

        >>> from datetime import UTC
        >>> Office().number(123, datetime(2026, 11, 20, 18, tzinfo=UTC))
        'FY-20261121-000123'
        """
        return f"{self.prefix}-{at.astimezone(self.zone):%Y%m%d}-{serial:06d}"
