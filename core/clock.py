"""One clock, injected everywhere: the only place that reads the wall.

Logic takes a :class:`Clock`, so that the simulator runs a 72-hour storm in seconds through the same
code and a test sets the hour. Timeouts of sockets stay on the event loop's own clock.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from core.model import from_micros, to_micros


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """Return the time, aware, UTC."""

    def micros(self) -> int:
        """Return the time in microseconds since 1970 UTC."""


class SystemClock:
    """The wall clock."""

    def now(self) -> datetime:
        """See :meth:`Clock.now`."""
        return datetime.now(UTC)

    def micros(self) -> int:
        """See :meth:`Clock.micros`."""
        return time.time_ns() // 1000


class ScaledClock:
    """A clock that runs faster than the wall from a common origin, for demos and drills.

    Args:
        origin: The virtual time at ``start``. Aware, UTC.
        start: Wall time at which the virtual time was ``origin``, in seconds since 1970.
        speed: Virtual seconds a second.
    """

    def __init__(self, origin: datetime, start: float, speed: float) -> None:
        self._origin = to_micros(origin)
        self._start = start
        self._speed = speed

    def now(self) -> datetime:
        """See :meth:`Clock.now`."""
        return from_micros(self.micros())

    def micros(self) -> int:
        """See :meth:`Clock.micros`."""
        return self._origin + round((time.time() - self._start) * self._speed * 1e6)


class ManualClock:
    """A clock that stands until it is moved, for tests.

    >>> clock = ManualClock(datetime(2026, 5, 1, tzinfo=UTC))
    >>> clock.advance(90)
    >>> clock.now().isoformat()
    '2026-05-01T00:01:30+00:00'
    """

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """See :meth:`Clock.now`."""
        return self._at

    def micros(self) -> int:
        """See :meth:`Clock.micros`."""
        return to_micros(self._at)

    def advance(self, seconds: float) -> None:
        """Move the clock by some seconds, back if negative."""
        self._at += timedelta(seconds=seconds)
