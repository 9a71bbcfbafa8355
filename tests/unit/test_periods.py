"""How often devices speak is learnt from when they spoke."""

import numpy as np
import pytest

from analytics.periods import GAPS, Kept, Periods

MINUTE = 60_000_000
NOW = 1_780_000_000_000_000
ONE = np.array([1], np.int32)
TEN = np.array([10 * MINUTE], np.int64)


def learn(periods: Periods, gaps: np.ndarray, start: int = NOW) -> tuple[float, float]:
    """Let one device speak with these gaps in minutes; return period and jitter in minutes."""
    at, period, jitter = start, TEN, TEN
    for gap in (0.0, *gaps):
        at += round(gap * MINUTE)
        period, jitter = periods.follow(ONE, np.array([at]), TEN)
    return float(period[0]) / MINUTE, float(jitter[0]) / MINUTE


def test_until_twenty_gaps_the_declared_period_holds() -> None:
    assert learn(Periods.empty(), np.full(GAPS - 1, 60.0)) == (10, 0.5)


def test_a_device_told_to_report_rarely_is_known_by_the_median_of_its_gaps() -> None:
    period, _ = learn(Periods.empty(), np.array([60.0] * 30 + [600.0] + [60.0] * 5))
    assert period == pytest.approx(60)


def test_a_device_that_hurries_for_a_while_keeps_its_declared_period() -> None:
    assert learn(Periods.empty(), np.full(60, 1.0))[0] == 10


def test_jitter_is_about_what_one_message_in_a_hundred_exceeds() -> None:
    chance = np.random.default_rng(5)
    gaps = 10 + chance.exponential(1.0, 6000)
    _, jitter = learn(Periods.empty(), gaps)
    late = gaps - np.median(gaps)
    assert np.quantile(late, 0.97) < jitter < np.quantile(late, 0.999)


def test_an_outage_is_no_jitter() -> None:
    gaps = np.full(200, 10.0)
    gaps[100] = 3000.0
    usual = learn(Periods.empty(), np.full(200, 10.0))
    assert learn(Periods.empty(), gaps) == pytest.approx(usual, rel=0.01)


def test_what_was_learnt_survives_a_restart_and_new_devices() -> None:
    periods = Periods.empty()
    learn(periods, np.full(30, 60.0))
    again = Periods.of(periods.keep())
    two = np.array([1, 7], np.int32)
    contact = np.array([int(periods.last[0]), NOW])
    period, _ = again.follow(two, contact, np.array([10 * MINUTE] * 2))
    assert (period / MINUTE).tolist() == [60, 10]


def test_damaged_periods_are_refused() -> None:
    with pytest.raises(ValueError, match="fit"):
        Periods.of(Kept(b"\0" * 4, b"", b"", b"", b""))
