"""Explanations of how a slope moved in the last thirty days, weighed against one another.

A straight line (uniform creep) explains every slope a little. What is left is explained by one or
two steps that relax after rain, or by a failure to come: after Fukuzono (1985) the inverse of the
velocity falls to zero in a straight line, so displacement grows as ``-ln(r + t)``, with ``r`` the
days that remain. Each explanation is a set of shapes freed of the line; its gain is the sum of
squares that its best shape explains, to be divided by the variance of the noise.

Of two steps only *ripe* ones count, begun at least a relaxation time ago: a step that has not
relaxed yet looks like an acceleration and would explain every failure away.

Every number is ours (measured on simulated slopes).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SLOTS: Final = 120
SLOT_S: Final = 21_600
"""Positions are taken every six hours; so many of them are thirty days."""
_DAY_SLOTS: Final = 86_400 // SLOT_S
_BLOCK: Final = 1024

REMAINS: Final = np.array((1.0, 1.5, 2.2, 3.2, 4.6, 6.5, 9, 13, 19, 28))
"""Days until failure that are tried."""
_BEGAN: Final = (0.5, 0.75, 1, 1.5, 2, 2.75, 3.5, 4.5, 6, 8, 10, 13, 16, 20, 24)  # days ago
_RELAXES: Final = (0.25, 0.7, 1.5, 3, 6, 10)  # relaxation times, days
_CANDIDATES: Final = (0, 8, 20)  # first steps to which a second is sought, by rank
_TWINS: Final = 0.98  # steps more alike than this are one
_LEAST_REST: Final = 0.02

_AGE: Final = np.arange(SLOTS)[::-1] / _DAY_SLOTS  # days, the newest last
_LINE: Final = np.linalg.qr(np.stack([np.ones(SLOTS), -_AGE], 1))[0]


def _freed(shapes: Floats) -> tuple[Floats, Floats]:
    """Return shapes freed of the straight line and of length one, and the lengths before."""
    left = shapes - (shapes @ _LINE) @ _LINE.T
    lengths = np.linalg.norm(left, axis=1)
    return left / lengths[:, None], lengths


_FAILURES, _FAILURE_LENGTHS = _freed(
    np.stack([-np.log((r + _AGE) / (r + _AGE[0])) for r in REMAINS])
)
_PAIRS: Final = np.array([(began, relaxes) for began in _BEGAN for relaxes in _RELAXES])
_STEPS: Final = _freed(
    np.stack(
        [
            np.where(began > _AGE, 1 - np.exp(-(began - _AGE) / relaxes), 0)
            for began, relaxes in _PAIRS
        ]
    )
)[0]
_RIPE: Final = _PAIRS[:, 1] <= _PAIRS[:, 0]
_LIKE: Final = _STEPS @ _STEPS.T
_REST: Final = 1 / np.maximum(1 - _LIKE**2, _LEAST_REST)
_FAILURE_LIKE: Final = _STEPS @ _FAILURES.T
_FAILURE_REST: Final = 1 / np.maximum(1 - _FAILURE_LIKE**2, _LEAST_REST)
_SHAPES: Final = np.ascontiguousarray(np.concatenate([_FAILURES, _STEPS]).T)


@dataclass(frozen=True, slots=True)
class Fit:
    """What explains the motion of each of several slopes; every array is ``(n,)``.

    Attributes:
        failure: Gain of the best failure over the straight line, mm².
        one: Gain of the best single step.
        two: Gain of the best two ripe steps.
        after: Gain of the best ripe step with a failure beside it.
        after_velocity: Present velocity of that failure, mm a day.
        after_remains: Days until it.
        velocity: Present velocity of that failure, mm a day.
        remains: Days until it.
        soonest: The least days among failures that explain about as much.
        latest: The most.
    """

    failure: Floats
    one: Floats
    two: Floats
    after: Floats
    after_velocity: Floats
    after_remains: Floats
    velocity: Floats
    remains: Floats
    soonest: Floats
    latest: Floats


def explain(positions: NDArray[np.float32], likely: Floats) -> Fit:
    """Weigh the explanations.

    Args:
        positions: ``(n, SLOTS, 2)`` in mm, the newest last.
        likely: ``(n,)`` mm²: failures whose gain is less by no more than this are still likely.
    """
    parts = [
        _explain(positions[start : start + _BLOCK], likely[start : start + _BLOCK])
        for start in range(0, len(positions), _BLOCK)
    ]
    return Fit(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in Fit.__dataclass_fields__
        )
    )


def _explain(positions: NDArray[np.float32], likely: Floats) -> Fit:
    x = positions.astype(np.float64)
    x = x - x[:, :1]
    # One product of the same shape for each slope: products of many slopes at once would give other
    # last bits with another number of them.
    each = np.matmul(np.ascontiguousarray(x.transpose(0, 2, 1)), _SHAPES)
    failing, stepping = each[:, :, : len(REMAINS)], each[:, :, len(REMAINS) :]
    net = x[:, -1] - x[:, 0]
    for n in range(1, _DAY_SLOTS):
        net = net + x[:, -n - 1] - x[:, n]
    onward = failing[:, 0] * net[:, :1] + failing[:, 1] * net[:, 1:] > 0
    gains = np.where(onward, failing[:, 0] ** 2 + failing[:, 1] ** 2, 0)
    best = gains.argmax(1)
    rows = np.arange(len(x))
    failure = gains[rows, best]
    a1, a2 = failing[rows, 0, best], failing[rows, 1, best]
    velocity = np.sqrt(a1**2 + a2**2) / _FAILURE_LENGTHS[best] / REMAINS[best]
    near = (gains >= (failure - likely)[:, None]) & (gains > 0)
    steps = stepping[:, 0] ** 2 + stepping[:, 1] ** 2
    first = np.argsort(np.where(_RIPE, -steps, 1), 1, kind="stable")[:, _CANDIDATES]
    return Fit(
        failure,
        steps.max(1),
        _two_steps(stepping, steps, first),
        *_failure_after_step(failing, stepping, steps, first, net),
        velocity,
        REMAINS[best],
        np.where(near, REMAINS, np.inf).min(1),
        np.where(near, REMAINS, 0).max(1),
    )


def _failure_after_step(
    failing: Floats, stepping: Floats, steps: Floats, first: NDArray[np.intp], net: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return gain, velocity and days left of the best failure beside a ripe step."""
    rows = np.arange(len(steps))
    best, speed, remains = np.zeros((3, len(steps)))
    for place in range(len(_CANDIDATES)):
        one = first[:, place]
        like, rest = _FAILURE_LIKE[one], _FAILURE_REST[one]
        left1 = failing[:, 0] - like * stepping[rows, 0, one][:, None]
        left2 = failing[:, 1] - like * stepping[rows, 1, one][:, None]
        onward = left1 * net[:, :1] + left2 * net[:, 1:] > 0
        more = np.where(onward, (left1**2 + left2**2) * rest, 0)
        j = more.argmax(1)
        gain = steps[rows, one] + more[rows, j]
        a = np.sqrt(left1[rows, j] ** 2 + left2[rows, j] ** 2) * rest[rows, j]
        better = gain > best
        best = np.where(better, gain, best)
        speed = np.where(better, a / _FAILURE_LENGTHS[j] / REMAINS[j], speed)
        remains = np.where(better, REMAINS[j], remains)
    return best, speed, remains


def _two_steps(stepping: Floats, steps: Floats, first: NDArray[np.intp]) -> Floats:
    """Return the gain of the best pair of ripe steps whose first is among three candidates."""
    rows = np.arange(len(steps))
    both = np.zeros(len(steps))
    for place in range(len(_CANDIDATES)):
        one = first[:, place]
        like = _LIKE[one]
        left1 = stepping[:, 0] - like * stepping[rows, 0, one][:, None]
        left2 = stepping[:, 1] - like * stepping[rows, 1, one][:, None]
        more = (left1**2 + left2**2) * _REST[one]
        more = np.where((np.abs(like) > _TWINS) | ~_RIPE, 0, more)
        both = np.maximum(both, steps[rows, one] + more.max(1))
    return both
