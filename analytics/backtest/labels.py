"""What should have been raised (标注), and how near a back-test came to it."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from analytics.backtest.spells import Spell
from core.model import from_micros


@dataclass(frozen=True, slots=True)
class Label:
    """Something that really happened.

    Attributes:
        device_id: To which device.
        start: When it began, aware.
        end: When it was over, aware.
        rule_id: Which rule should tell of it; empty: any.
    """

    device_id: str
    start: datetime
    end: datetime
    rule_id: str = ""


@dataclass(frozen=True, slots=True)
class Marks:
    """How near spells came to labels.

    Attributes:
        labels: How many labels.
        found: How many of them were found.
        spells: How many spells.
        right: How many of them belong to a label.
        delays_s: From the start of a label to its first spell, in seconds, sorted.
    """

    labels: int
    found: int
    spells: int
    right: int
    delays_s: Sequence[float]

    def figures(self) -> dict[str, float | None]:
        """Return precision, recall and delays, None where there is nothing to divide by."""
        return {
            "precision": self.right / self.spells if self.spells else None,
            "recall": self.found / self.labels if self.labels else None,
            "delay_p50_s": self._delay(0.5),
            "delay_p95_s": self._delay(0.95),
            "delay_worst_s": self._delay(1.0),
        }

    def _delay(self, share: float) -> float | None:
        if not self.delays_s:
            return None
        return self.delays_s[math.ceil(share * len(self.delays_s)) - 1]


def mark(
    spells: Iterable[tuple[str, Spell]], labels: Sequence[Label], *, slack: timedelta
) -> Marks:
    """Hold spells against labels.

    A spell belongs to a label of its device, and of its rule where the label names one, if it began
    no later than ``slack`` after the label's end and went on past its start.

    Args:
        spells: With the id of their device.
        labels: What really happened.
        slack: How late a spell may begin.
    """
    first: dict[Label, float] = {}
    several = right = 0
    for device_id, spell in spells:
        several += 1
        began, over = from_micros(spell.first), from_micros(spell.closed)
        meant = [
            label
            for label in labels
            if label.device_id == device_id
            and label.rule_id in {"", spell.rule_id}
            and began <= label.end + slack
            and over >= label.start
        ]
        right += bool(meant)
        for label in meant:
            delay = max(0.0, (from_micros(spell.opened) - label.start).total_seconds())
            first[label] = min(delay, first.get(label, math.inf))
    return Marks(len(labels), len(first), several, right, sorted(first.values()))


def read_labels(path: Path) -> list[Label]:
    """Return the labels of a CSV file ``device,start,end[,rule]``, times ISO 8601 or Unix seconds.

    Raises:
        ValueError: A line that is none.
    """
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        if rows.fieldnames is None or not {"device", "start", "end"} <= set(rows.fieldnames):
            raise ValueError(
                f"{path}: the header must be device,start,end or device,start,end,rule"
            )
        found = []
        for number, row in enumerate(rows, 2):
            try:
                start, end = _moment(row["start"]), _moment(row["end"])
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            found.append(Label(row["device"], start, end, row.get("rule") or ""))
    return found


def _moment(text: str) -> datetime:
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except ValueError:
        at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return at
