import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.heartbeat import CarrierLost, Fleet, Heard, Lost, Memory, is_deaf, judge

MINUTE = 60_000_000
NOW = 1_780_000_000_000_000
GATEWAY, FEEDER = 900, 901


def fleet(
    *quiet: float,
    interval: float = 10,
    gateway: int = -1,
    feeder: int = -1,
    others: int = 0,
    now: int = NOW,
) -> Fleet:
    """Devices that were heard last so many minutes ago, and others heard just now."""
    n = len(quiet) + others
    ago = np.array([*quiet, *[0.0] * others]) * MINUTE
    return Fleet(
        np.arange(1, 1 + n, dtype=np.int32),
        np.array([[gateway] * n, [feeder] * n], np.int32),
        np.full(n, round(interval * MINUTE), np.int64),
        now - ago.astype(np.int64),
    )


def memory(**known: dict[int, int]) -> Memory:
    return Memory(passed_at=NOW - MINUTE, available_since=NOW - 10_000 * MINUTE, **known)


def lost(found: object) -> list[int]:
    assert isinstance(found, list)
    return [change.place for change in found if isinstance(change, Lost)]


def test_a_device_is_lost_after_three_of_its_intervals() -> None:
    assert lost(judge(fleet(29, 30, 31), memory(), NOW)) == [2]


def test_a_fast_device_is_allowed_some_jitter() -> None:
    assert lost(judge(fleet(1.6, 1.7, interval=1 / 6), memory(), NOW)) == [1]


def test_nobody_is_announced_twice() -> None:
    known = memory()
    assert lost(judge(fleet(31), known, NOW)) == [0]
    assert judge(fleet(32), known, NOW + MINUTE) == []


def test_a_device_that_is_heard_again_is_over_at_once() -> None:
    known = memory(lost={1: NOW - 60 * MINUTE})
    assert judge(fleet(0), known, NOW) == [Heard(1, NOW - 60 * MINUTE)]
    assert known.lost == {}


def test_a_device_no_longer_watched_is_over_too() -> None:
    known = memory(lost={7: NOW - 60 * MINUTE})
    assert judge(fleet(0), known, NOW) == [Heard(7, NOW - 60 * MINUTE, watched=False)]


def test_in_the_grace_after_a_start_nobody_is_announced() -> None:
    known = memory(lost={1: NOW - 60 * MINUTE})
    found = judge(fleet(0, 31), known, NOW, opening=False)
    assert [type(change) for change in found] == [Heard]


def test_silence_counts_from_when_the_hub_could_hear() -> None:
    known = memory()
    known.available_since = NOW - 20 * MINUTE
    assert judge(fleet(500), known, NOW) == []
    assert lost(judge(fleet(500), known, NOW + 11 * MINUTE)) == [0]


def test_a_whole_city_silent_at_once_is_the_hubs_own_fault() -> None:
    known, city = memory(), fleet(*[35.0] * 20)
    assert is_deaf(city, NOW)
    assert judge(city, known, NOW) == []
    assert judge(fleet(*[35.0] * 19, others=1), known, NOW + MINUTE) == []  # it hears again


def test_a_hub_clock_that_leaps_an_hour_announces_nobody() -> None:
    assert judge(fleet(*[0.0] * 50), memory(), NOW + 60 * MINUTE) == []


def test_many_devices_of_a_gateway_are_one_finding() -> None:
    known, behind = memory(), fleet(31, 32, 33, gateway=GATEWAY, others=7)
    found = judge(behind, known, NOW)
    assert len(found) == 1
    assert isinstance(found[0], CarrierLost)
    assert (found[0].device_no, len(found[0].places), found[0].carried) == (GATEWAY, 3, 10)
    assert judge(fleet(61, 62, 63, gateway=GATEWAY, others=7), known, NOW) == []


@pytest.mark.parametrize(
    ("quiet", "others"),
    [((31.0, 32.0), 3), ((31.0, 32.0, 33.0), 12), ((31.0, 61.0, 91.0), 0)],
    ids=["fewer than three", "not over a fifth", "not together"],
)
def test_otherwise_the_gateway_is_not_blamed(quiet: tuple[float, ...], others: int) -> None:
    found = judge(fleet(*quiet, gateway=GATEWAY, others=others), memory(), NOW)
    assert not any(isinstance(change, CarrierLost) for change in found)


def test_a_feeder_is_blamed_where_most_of_it_is_silent() -> None:
    assert judge(fleet(31, 32, 33, feeder=FEEDER, others=2), memory(), NOW) == []
    found = judge(fleet(31, 32, 33, 34, feeder=FEEDER, others=2), memory(), NOW)
    assert [(c.device_no, c.kind) for c in found if isinstance(c, CarrierLost)] == [
        (FEEDER, "feeder")
    ]
    assert len(found) == 1


def test_of_gateway_and_feeder_the_one_that_explains_more_is_blamed() -> None:
    lamps = fleet(*[31.0] * 6, gateway=GATEWAY, others=14)
    lamps.carriers[1, :6] = FEEDER  # all of the feeder, six of twenty behind the gateway
    (found,) = judge(lamps, memory(), NOW)
    assert isinstance(found, CarrierLost)
    assert (found.device_no, found.carried) == (FEEDER, 6)

    lamps = fleet(*[31.0] * 20, gateway=GATEWAY, others=1)
    lamps.carriers[0, 20:] = -1
    lamps.carriers[1, :6] = FEEDER  # all twenty behind the gateway, on several feeders
    (found,) = judge(lamps, memory(), NOW)
    assert isinstance(found, CarrierLost)
    assert (found.device_no, found.carried) == (GATEWAY, 20)


def test_a_feeder_that_falls_silent_lamp_by_lamp_is_never_taken_for_its_gateway() -> None:
    for silent in range(1, 21):  # its twenty lamps are half of the gateway's
        lamps = fleet(*[31.0] * silent, gateway=GATEWAY, others=40 - silent)
        lamps.carriers[1, :20] = FEEDER
        found = [c for c in judge(lamps, memory(), NOW) if isinstance(c, CarrierLost)]
        assert [each.device_no for each in found] == [FEEDER] * (silent > 12), silent


def test_a_feeder_alone_behind_its_gateway_is_blamed_before_it() -> None:
    lamps = fleet(*[31.0] * 20, gateway=GATEWAY, others=1)
    lamps.carriers[0, 20:] = -1
    lamps.carriers[1, :20] = FEEDER
    (found,) = judge(lamps, memory(), NOW)
    assert isinstance(found, CarrierLost)
    assert found.device_no == FEEDER


def test_a_single_device_behind_a_gateway_waits_one_interval_for_that_verdict() -> None:
    assert judge(fleet(35, gateway=GATEWAY, others=9), memory(), NOW) == []
    assert lost(judge(fleet(41, gateway=GATEWAY, others=9), memory(), NOW)) == [0]


def test_devices_left_over_when_a_gateway_is_back_speak_for_themselves() -> None:
    known = memory(carriers={GATEWAY: NOW - 300 * MINUTE})
    found = judge(fleet(300, gateway=GATEWAY, others=9), known, NOW)
    assert found == [Heard(GATEWAY, NOW - 300 * MINUTE, carrier="gateway")]
    for minutes, places in ((40, []), (41, [0])):
        now = NOW + minutes * MINUTE
        behind = fleet(300 + minutes, gateway=GATEWAY, others=9, now=now)
        assert lost(judge(behind, known, now)) == places


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(0, 40))
def test_announcing_is_idempotent_for_any_fleet(quiet: list[float], others: int) -> None:
    known = memory()
    behind = fleet(*quiet, gateway=GATEWAY, others=others)
    judge(behind, known, NOW)
    assert judge(behind, known, NOW) == []
