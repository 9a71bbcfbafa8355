"""A device against its own class (同类比对): metrics that belong together, judged as one vector."""

from dataclasses import dataclass
from typing import Final

from core.model import Audience, Severity, Text
from devices.kind import AlarmRule

UNLIKE_CLASS: Final = AlarmRule(
    "unlike_class",
    Text("指标组合异常（仅供排序）", "Unusual combination (for ranking only)"),
    Severity.BLUE,
    audience=Audience.MAINTENANCE,
    enabled=False,
)
"""A score that ranks is no alarm: no operator sees it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassModel:
    """Watch how some metrics go together.

    Attributes:
        features: The metrics, two to six, single precision only.
        when: Judge only rows in which this metric is at least 0.5; empty: all rows.
        source: Where the numbers come from.
    """

    features: tuple[str, ...]
    when: str = ""
    source: str = "ours"

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (*self.features, *filter(None, (self.when,)))

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (UNLIKE_CLASS.rule_id,)

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        return f"{', '.join(f'`{name}`' for name in self.features)} as one vector"
