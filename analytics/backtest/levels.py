"""How near a back-test of water gauges came to what really happened.

An event is found by a line of its kind between its start and half an hour after its end; a spike is
told one row late. A line is false unless it lies between ten minutes before an event of its gauge
and two hours after it. A slow drift is counted apart: alone it is only ever suspect.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Line = Mapping[str, Any]
Labels = Mapping[str, Sequence[Mapping[str, Any]]]

_LATE_S: Final = 1_800
_EARLY_S: Final = 600
_AFTER_S: Final = 7_200
SUSPECT: Final = "drift"


@dataclass(frozen=True, slots=True)
class Gauges:
    """Counts of one set.

    Attributes:
        events: Decidable events by kind.
        found: How many of them were found.
        false: Lines that belong to no event.
        days: Gauge-days.
        delays: Minutes from the start of each event found.
    """

    events: Mapping[str, int]
    found: Mapping[str, int]
    false: int
    days: float
    delays: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def share(self) -> float:
        """Return the share of decidable events found, drifts left out; 1 where there are none."""
        kinds = [kind for kind in self.events if kind != SUSPECT]
        total = sum(self.events[kind] for kind in kinds)
        return sum(self.found[kind] for kind in kinds) / total if total else 1.0


def score_gauges(lines: Iterable[Line], labels: Labels, days: float) -> Gauges:
    """Score the lines of one set.

    Args:
        lines: What was told.
        labels: By gauge: ``kind``, ``start``, ``end`` in Unix seconds; ``decidable`` if not all.
        days: Gauge-days of the set.
    """
    own: dict[str, list[Line]] = {}
    for line in lines:
        own.setdefault(str(line["device"]), []).append(line)
    events: dict[str, int] = {}
    found: dict[str, int] = {}
    delays: dict[str, list[float]] = {}
    for gauge, several in labels.items():
        for event in several:
            if not event.get("decidable", True):
                continue
            kind = str(event["kind"])
            hits = [
                float(line["ts"])
                for line in own.get(gauge, ())
                if line["kind"] == kind and event["start"] <= line["ts"] <= event["end"] + _LATE_S
            ]
            events[kind] = events.get(kind, 0) + 1
            found[kind] = found.get(kind, 0) + bool(hits)
            if hits:
                delays.setdefault(kind, []).append((min(hits) - event["start"]) / 60)
    false = sum(
        not any(
            event["start"] - _EARLY_S <= line["ts"] <= event["end"] + _AFTER_S
            for event in labels.get(gauge, ())
        )
        for gauge, several in own.items()
        for line in several
    )
    return Gauges(events, found, false, days, delays)
