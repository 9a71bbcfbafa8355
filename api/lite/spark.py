"""A line of a metric's last values, as inline SVG: gaps stay gaps."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from api.lite.markup import Html, tag

WIDTH: Final = 240
HEIGHT: Final = 44
_PAD: Final = 3


def sparkline(points: Sequence[tuple[datetime, float | None]], label: str) -> Html | None:
    """Return the line, None where fewer than two values are known.

    Args:
        points: Time and value, oldest first; None is a gap.
        label: What it shows, for those who cannot see it.
    """
    known = [(at, value) for at, value in points if value is not None]
    if len(known) < 2:  # noqa: PLR2004 - a line needs two points
        return None
    start, end = known[0][0].timestamp(), known[-1][0].timestamp()
    low, high = min(value for _, value in known), max(value for _, value in known)
    lines = [
        tag("polyline", points=" ".join(_spot(spot, start, end, low, high) for spot in run))
        for run in _runs(points)
    ]
    return tag(
        "svg",
        *lines,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
        class_="spark",
    )


def _runs(
    points: Sequence[tuple[datetime, float | None]],
) -> list[list[tuple[datetime, float]]]:
    runs: list[list[tuple[datetime, float]]] = [[]]
    for at, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((at, value))
    return [run for run in runs if run]


def _spot(spot: tuple[datetime, float], start: float, end: float, low: float, high: float) -> str:
    at, value = spot
    across = (at.timestamp() - start) / (end - start) if end > start else 0.5
    up = (value - low) / (high - low) if high > low else 0.5
    x = _PAD + across * (WIDTH - 2 * _PAD)
    y = HEIGHT - _PAD - up * (HEIGHT - 2 * _PAD)
    return f"{x:.1f},{y:.1f}"
