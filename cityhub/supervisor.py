"""Keeps the roles running: one that dies is started again, at once the first time, then less often.

Crash-only: a role that ends for whatever reason is simply started anew and finds in the database
where it stood. A role that dies at every start is tried every half minute, so that it neither stops
the others nor fills the disk with logs.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from cityhub.child import Child, Program, stop_all

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_SETTLED_S = 60.0
"""After so long a role counts as running: its next death is a first one again."""


class Role:
    """One role and what became of it so far."""

    def __init__(self, program: Program, say: Callable[[str], None]) -> None:
        self.program = program
        self._say = say
        self._pause = _FIRST_PAUSE_S
        self._started = 0.0
        self._due = 0.0
        self.child: Child | None = None

    def look(self, now: float) -> None:
        """Start it if it does not run and its pause is over.

        Args:
            now: Monotonic seconds.
        """
        if self.child is not None and (code := self.child.ended()) is not None:
            self._mourn(self.child, code, now)
            self.child = None
        if self.child is not None:
            self.child.turn_log()
        if self.child is None and now >= self._due:
            self.child = Child(self.program)
            self._started = now

    def _mourn(self, child: Child, code: int, now: float) -> None:
        if now - self._started > _SETTLED_S:
            self._pause = _FIRST_PAUSE_S
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        words = child.last_words(1)
        self._say(
            f"{self.program.name} ended ({how}), starts again in {self._pause:g} s"
            f"{f': {words}' if words and code > 0 else ''}"
        )
        self._due = now + self._pause
        self._pause = min(_LONGEST_PAUSE_S, self._pause * 2)
        # A failpoint is for one life: the next one must get past it.
        if self.program.env is not None and "CITYHUB_FAILPOINT" in self.program.env:
            env = {k: v for k, v in self.program.env.items() if k != "CITYHUB_FAILPOINT"}
            self.program = replace(self.program, env=env)


class Supervisor:
    """All roles of this hub."""

    def __init__(self, programs: Sequence[Program], say: Callable[[str], None]) -> None:
        self.roles = [Role(program, say) for program in programs]

    def look(self) -> None:
        """Start every role that should run and does not."""
        now = time.monotonic()
        for role in self.roles:
            role.look(now)

    def stop(self) -> None:
        """End them all, whoever sends first, so that nothing is sent to somebody who is gone."""
        stop_all([role.child for role in self.roles if role.child is not None])
        for role in self.roles:
            role.child = None
