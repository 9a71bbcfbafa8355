"""Unusual behaviour (异常行为): what every series can be watched for without knowing its limits.

A score that ranks is no alarm. The rule is not enabled: its findings are stored and rank what else
is found, and no operator ever sees one alone; limits, neighbours or a person's rule must agree.
"""

from dataclasses import dataclass
from typing import Final

from core.model import Audience, Severity, Text
from devices.kind import AlarmRule

UNUSUAL: Final = AlarmRule(
    "unusual",
    Text("行为异常（仅供排序）", "Unusual behaviour (for ranking only)"),
    Severity.BLUE,
    audience=Audience.MAINTENANCE,
    enabled=False,
)
"""Kinds with an :class:`Unusual` watch have it among their rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """Watch metrics for behaviour that is rare for the device itself, on any time scale.

    Attributes:
        full: Metrics watched by the full form: eight features, the time of day among them, and what
            each hour usually scores; 2 kB a series. Single precision only, no counters.
        lite: Metrics watched by the lite form: four features, a fourth of the memory, half the
            time.
        mute_s: A series raises nothing for so long after its first row: three days; a week where
            weekends differ.
        source: Where the numbers come from.
    """

    full: tuple[str, ...] = ()
    lite: tuple[str, ...] = ()
    mute_s: float = 259_200
    source: str = "ours; measured on NAB and on quiet series"

    def __post_init__(self) -> None:
        if set(self.full) & set(self.lite):
            raise ValueError("a metric is watched in full or lite, not both")

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (*self.full, *self.lite)

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (UNUSUAL.rule_id,)

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        parts = [
            f"{', '.join(f'`{name}`' for name in names)} ({form})"
            for names, form in ((self.full, "full"), (self.lite, "lite"))
            if names
        ]
        return f"unusual behaviour of {' and '.join(parts)}, for ranking only"
