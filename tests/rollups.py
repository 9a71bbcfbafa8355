"""What the tests of roll-ups share: a second opinion, computed straight from the readings."""

from typing import Any, Final

from tests.intake import query

WIDTHS: Final = {"1m": "1 minute", "1h": "1 hour", "1d": "1 day"}
ORIGIN: Final = "1999-12-31 16:00+00"  # a midnight in Shanghai
_SECOND_OPINION: Final = """
SELECT device_no, date_bin(%s, ts, %s) AS at, metric, avg(value), min(value), max(value),
       (array_agg(value ORDER BY ts DESC, seq DESC))[1], count(*)
  FROM hub.reading
 WHERE value <> 'NaN' AND (quality & 16 = 0 OR metric <> 'tilt' OR value BETWEEN 0 AND 180)
 GROUP BY device_no, at, metric ORDER BY device_no, at, metric
"""


def narrow(url: str, level: str, metric: str) -> list[tuple[Any, ...]]:
    """Return the buckets of a metric."""
    return query(
        url,
        f"SELECT device_no, at, avg, min, max, last, count FROM hub.rollup_{level}"
        " WHERE metric = %s ORDER BY device_no, at",
        metric,
    )


def assert_rolled_up(url: str) -> None:
    """Check every bucket of every level against the readings."""
    for level, width in WIDTHS.items():
        said = query(
            url,
            "SELECT device_no, at, metric, avg, min, max, last, count"
            f" FROM hub.rollup_{level} ORDER BY device_no, at, metric",
        )
        expected = query(url, _SECOND_OPINION, width, ORIGIN)
        assert len(said) == len(expected)
        for ours, theirs in zip(said, expected, strict=True):
            assert ours[:3] + ours[4:] == theirs[:3] + theirs[4:]
            assert abs(ours[3] - theirs[3]) <= 1e-9 * max(1.0, abs(theirs[3]))
