"""Whatever detectors, time, people and crashes do: no forbidden state, and no event is lost.

The walk itself is :mod:`tests.alarm_model`. A failure names its seed and its last moves.
"""

import pytest

from alerts.alarm import ACTIONS
from tests.alarm_model import Walk

SEEDS = 320


def walk(first: int, steps: int) -> set[str]:
    """Walk from ``SEEDS`` seeds; return all that was said on the way."""
    said: set[str] = set()
    for seed in range(first, first + SEEDS):
        way = Walk(seed)
        try:
            way.run(steps // SEEDS)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, last moves {way.trace[-12:]}: {error}") from error
        said |= {event.action for _, event in way.world.log}
    return said


def test_no_sequence_of_100_000_steps_reaches_a_forbidden_state_or_loses_an_event() -> None:
    said = walk(0, 100_000)
    assert said == ACTIONS, "the walk does not reach everything"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_sequence_of_a_million_steps_does_either() -> None:
    walk(SEEDS, 1_000_000)
