"""What levels are watched for before anything else: a unit that slipped (cm for m)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSlip:
    """Watch a metric for values that are its own usual ones by a power of ten too many.

    Attributes:
        metric: The metric.
        rule_id: The alarm rule it feeds.
        source: Where the numbers come from.
    """

    metric: str
    rule_id: str
    source: str = "ours"

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.metric,)

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.rule_id,)

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        return f"`{self.metric}` in another unit: 100 or 1000 times its own, or a part of it"
