"""What those who clean streets are watched for (环卫作业): the rules of their plans."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Watch a vehicle's shift against its plan: what is covered, and how it goes about it.

    Attributes:
        missed_rule: Alarm rule of planned segments that nobody did, told when the shift is over.
        dry_rule: Of a vehicle on its planned segments whose brush and spray stay off.
        off_rule: Of one that works far from its segments.
        stop_rule: Of one that stands for long within its shift.
        source: Where the numbers come from.
    """

    missed_rule: str
    dry_rule: str
    off_rule: str
    stop_rule: str
    source: str = "ours"

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return ("lon", "lat", "speed", "brush", "spray", "acc", "sats")

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.missed_rule, self.dry_rule, self.off_rule, self.stop_rule)

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        return "its shift against its plan: segments done, missed or unknown; brush, place, stops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Watch how much of its known time a badge was on its section (网格在岗).

    Attributes:
        absent_rule: Alarm rule of a shift mostly spent elsewhere, told when it is over.
        source: Where the numbers come from.
    """

    absent_rule: str
    source: str = "ours"

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return ("lon", "lat")

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.absent_rule,)

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        return "share of its shift on its section; holes in the positions are unknown"
