"""What rain gauges are watched for: how much fell within some hours."""

from dataclasses import dataclass

from core.model import Severity


@dataclass(frozen=True, slots=True)
class RainStep:
    """One step of the ladder: so much rain within so many hours.

    Attributes:
        severity: Which step.
        hours: Within.
        millimetres: From so much on.
    """

    severity: Severity
    hours: int
    millimetres: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rainfall:
    """Watch the sums of rain over hours.

    Attributes:
        counter: Name of the metric that counts all rain, in mm.
        interval: Name of the metric with the rain since the last report, in mm; it counts where the
            counter says nothing.
        rule_id: The alarm rule it feeds.
        steps: The gravest first.
        quiet_s: So long without rain ends it, in seconds.
        source: Where the numbers come from.
    """

    counter: str
    interval: str
    rule_id: str
    steps: tuple[RainStep, ...]
    quiet_s: float
    source: str = "ours"

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.interval, self.counter)

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.rule_id,)

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        steps = (
            f"{step.millimetres:g} mm in {step.hours} h {step.severity.text.en}"
            for step in self.steps
        )
        return f"`{self.counter}` or `{self.interval}`: {', '.join(steps)}"
