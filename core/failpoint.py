"""Named points at which a test makes the hub die, wait or fail, at the worst moment.

``CITYHUB_FAILPOINT=name:action[,name:action]``. Actions: ``kill`` (SIGKILL to the own process),
``kill@N`` (at the N-th passage), ``sleep=SECONDS``, ``error``. Unset, a point costs one look-up in
an empty dict. The points are listed in ``docs/reference/failpoints.md``.
"""

import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping


class FailpointError(Exception):
    """What the action ``error`` raises."""


def _parse(text: str) -> dict[str, Callable[[], None]]:
    """Return the switched-on points.

    Raises:
        ValueError: An action is unknown.
    """
    points = {}
    for item in filter(None, text.split(",")):
        name, _, action = item.partition(":")
        points[name] = _action(name, action)
    return points


def _action(name: str, action: str) -> Callable[[], None]:
    verb, _, argument = action.replace("@", "=").partition("=")
    if verb == "kill":
        count, nth = itertools.count(1), int(argument or 1)
        return lambda: os.kill(os.getpid(), signal.SIGKILL) if next(count) == nth else None
    if verb == "sleep":
        return lambda: time.sleep(float(argument))
    if verb == "error":
        return lambda: _raise(name)
    raise ValueError(f"failpoint {name}: unknown action {action!r} (kill, kill@N, sleep=S, error)")


def _raise(name: str) -> None:
    raise FailpointError(name)


_points: Mapping[str, Callable[[], None]] = _parse(os.environ.get("CITYHUB_FAILPOINT", ""))


def passing(name: str) -> None:
    """Pass a named point."""
    action = _points.get(name)
    if action is not None:
        action()
