"""The bars, and how a report stands to them."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_BARS: Final = Path(__file__).with_name("bars.toml")


def judge(figures: Mapping[str, Any], *, bench: str = "ingest") -> list[dict[str, Any]]:
    """Return every goal of a bench with bar, value, and whether it is met; None: not measured.

    >>> one = next(goal for goal in judge({"ratio_counter": 1.3}) if goal["met"] is not None)
    >>> one["least"], one["value"], one["met"], one["stretched"]
    (1.2, 1.3, True, False)
    """
    goals = tomllib.loads(_BARS.read_text("utf-8"))["goal"]
    return [
        goal | _stand(goal, figures.get(goal["figure"]))
        for goal in goals
        if goal.get("bench", "ingest") == bench
    ]


def _stand(goal: Mapping[str, Any], value: float | None) -> dict[str, Any]:
    if value is None:
        return {"value": None, "met": None, "stretched": None}
    sign = 1 if "least" in goal else -1
    bar, stretch = goal.get("least", goal.get("most")), goal.get("stretch")
    return {
        "value": value,
        "met": sign * value >= sign * bar,
        "stretched": None if stretch is None else sign * value >= sign * stretch,
    }


def table(goals: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line a goal, for people."""
    for goal in goals:
        bar = f"≥ {goal['least']:g}" if "least" in goal else f"≤ {goal['most']:g}"
        value = "not measured" if goal["value"] is None else f"{goal['value']:,.2f}"
        word = {None: "-", True: "met", False: "NOT MET"}[goal["met"]]
        yield f"{word:8} {value:>14}  {bar:10} {goal['name']}"
