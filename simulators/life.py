"""Life in the demo: every few minutes a scene begins by itself, the first one soon after the start.

Seeded, so that two demos of one seed live the same life. Never more than two scenes at once, and
what was begun by hand counts: a newcomer should see one thing after another, not a storm.
"""

from typing import Final

from simulators.chance import generator
from simulators.stream import Stream

FIRST_S: Final = 20.0
_LEAST_S: Final = 120.0
_MOST_S: Final = 360.0
_MOST_AT_ONCE: Final = 2
_REPERTOIRE: Final = (
    # scene, how often among 100, how long it lasts in seconds
    ("cover_stolen", 35, 600.0),
    ("lorries", 25, 180.0),
    ("river_rising", 20, 900.0),
    ("feeder_outage", 10, 420.0),
    ("gateway_silent", 10, 420.0),
)


class Life:
    """Begins scenes.

    Args:
        stream: Whose devices.
        seed: Of the run.
        start: Microseconds UTC.
        first_s: Seconds until the first one, a cover theft.
    """

    def __init__(self, stream: Stream, *, seed: int, start: int, first_s: float = FIRST_S) -> None:
        self._stream = stream
        self._chance = generator(seed, "life", "city", "scenes")
        self._next = start + round(first_s * 1e6)
        self._begun = 0

    def next_at(self) -> int:
        """Return when the next scene may begin, microseconds UTC."""
        return self._next

    def step(self, now: int) -> str | None:
        """Begin the scene that is due.

        Returns:
            Its truth id, or None where nothing began.
        """
        if now < self._next:
            return None
        self._next = now + round((_LEAST_S + (_MOST_S - _LEAST_S) * self._chance.random()) * 1e6)
        name, lasts_s = self._pick()
        on = [performance.scene.name for performance in self._stream.on.values()]
        if len(on) >= _MOST_AT_ONCE or name in on:
            return None
        self._begun += 1
        return self._stream.begin(name, now, lasts_s=lasts_s).truth_id

    def _pick(self) -> tuple[str, float]:
        """Return a scene and how long it lasts; the very first is a theft."""
        if not self._begun:
            return _REPERTOIRE[0][0], _REPERTOIRE[0][2]
        dice = self._chance.random() * sum(share for _, share, _ in _REPERTOIRE)
        for name, share, lasts_s in _REPERTOIRE:
            dice -= share
            if dice < 0:
                return name, lasts_s
        return _REPERTOIRE[0][0], _REPERTOIRE[0][2]
