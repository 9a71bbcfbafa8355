"""How long to wait before connecting again: longer each time, and never all at once."""

import secrets
from collections.abc import Callable
from typing import Final

_FIRST_S: Final = 0.1
_LONGEST_S: Final = 5.0
_chance: Final = secrets.SystemRandom().random


class Pauses:
    """Growing pauses with full jitter, so that workers do not return in step.

    Args:
        chance: Returns a number from 0 to 1; tests give a constant.
    """

    def __init__(self, chance: Callable[[], float] = _chance) -> None:
        self._chance = chance
        self._ceiling = _FIRST_S

    def reset(self) -> None:
        """Start over: the connection worked."""
        self._ceiling = _FIRST_S

    def next(self) -> float:
        """Return how long to wait now, in seconds."""
        pause = self._ceiling * (0.5 + 0.5 * self._chance())
        self._ceiling = min(2 * self._ceiling, _LONGEST_S)
        return pause
