"""How far a long run is, and how long it will still take."""

import time
from collections.abc import Callable
from typing import Final

_EVERY_S: Final = 10.0


class Progress:
    """Says from time to time how much is done.

    Args:
        what: What is counted, such as ``days written``.
        total: How many there are to do.
        say: Takes the word.
        rows: How much work each one is; None: all are alike.
    """

    def __init__(
        self,
        what: str,
        total: int,
        say: Callable[[str], None],
        *,
        rows: Callable[[int], int] | None = None,
    ) -> None:
        self._what = what
        self._total = total
        self._say = say
        self._rows = rows
        self._start = self._told = time.monotonic()
        self._count = self._written = 0

    def done(self, number: int = 0, *, count: int = 1) -> None:
        """Note that some are done.

        Args:
            number: Which one, for its rows.
            count: How many.
        """
        self._count += count
        if self._rows is not None:
            self._written += self._rows(number)
        now = time.monotonic()
        if now - self._told < _EVERY_S and self._count < self._total:
            return
        self._told, took = now, now - self._start
        left = took / max(self._count, 1) * max(self._total - self._count, 0)
        rate = f", {self._written / took:,.0f} rows/s" if self._written and took else ""
        self._say(
            f"{self._count} of {self._total} {self._what}{rate}; about {left / 60:.0f} min left"
        )
