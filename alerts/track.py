"""All there is of one rule on one device, and what a finding brings to it."""

from dataclasses import dataclass
from datetime import datetime

from alerts.alarm import Alarm, Event
from core.model import Edge, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A finding, as far as an alarm needs it.

    Attributes:
        edge: Whether the episode opens, goes on, clears, or is a single event.
        kind: What was seen, such as ``open`` or ``limit``.
        detector: Who saw it.
        measured: A metric was judged, rather than the device's own word taken.
        ts: Event time of the row. Aware, UTC, like all times here.
        first_ts: The first breaching sample of the episode.
        received_at: When the hub took the row.
        severity: What the detector suggests.
        explain_zh: One sentence for the operator, in Chinese.
        explain_en: The same in English.
        value: What was measured, in ``unit``.
        threshold: The limit passed.
        baseline: What was expected.
        unit: UCUM code of the three.
        confidence: 0 to 1.
        flags: ``unconfirmed``, ``clock_suspect``, ``retroactive``, ``ongoing``.
        held_s: For so long between ``ts`` and ``received_at`` the hub itself took nothing in.
    """

    edge: Edge
    kind: str
    detector: str
    measured: bool
    ts: datetime
    first_ts: datetime
    received_at: datetime
    severity: Severity
    explain_zh: str
    explain_en: str
    value: float | None = None
    threshold: float | None = None
    baseline: float | None = None
    unit: str = ""
    confidence: float = 1.0
    flags: tuple[str, ...] = ()
    held_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A breach that has not lasted long enough (待证实): no number, no feed, no sound."""

    first_ts: datetime
    last_ts: datetime
    hits: int
    peak: float | None
    finding: Seen


@dataclass(frozen=True, slots=True)
class Track:
    """All there is of one rule on one device: a pending breach, and the latest occurrence."""

    pending: Pending | None = None
    alarm: Alarm | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a track.

    Attributes:
        track: Its new state. A new occurrence has no ``alarm_id`` yet.
        events: The transitions, in order.
        near_miss: A pending breach fell back (险发).
    """

    track: Track
    events: tuple[Event, ...] = ()
    near_miss: bool = False
