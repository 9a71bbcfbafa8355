"""What makes devices comparable with one another (同组比对): a watch of any kind."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Compare a metric with its own usual value at this hour and with its neighbours' (同组比对).

    Attributes:
        metric: The metric.
        group: What makes neighbours: a column of the registry.
        least: The smallest change that matters, in the metric's unit.
        rule_id: Alarm rule of a device that is far from both.
        low_rule: Rule of the feeder all of whose devices are far below; empty: not told.
        high_rule: Likewise above.
        source: Where the numbers come from.
    """

    metric: str
    group: Literal["feeder", "gateway", "grid_code"]
    least: float
    rule_id: str
    low_rule: str = ""
    high_rule: str = ""
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
        return f"`{self.metric}` against its own hour and its `{self.group}`, once a minute"
