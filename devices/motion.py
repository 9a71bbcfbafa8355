"""What to watch for in ground that moves: a point that jumps, and one that goes ever faster.

Two watches over the same coordinates, since they answer different questions. A step (阶跃) is over
when it is found, and somebody must look at what moved. An acceleration (加速变形) is the only sign
that comes before a slope fails, and every day of it counts.
"""

from dataclasses import dataclass

from core.model import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundStep:
    """Watch a point for a lasting step of its horizontal position.

    Attributes:
        east: Name of the metric of eastward displacement, in mm.
        north: Likewise northward.
        rule_id: The alarm rule it feeds. A device's own ``limits`` under this name are sizes of
            step in mm: ``{"dam_displacement": {"yellow": 10, "red": 50}}``.
        severity: Of a step at a device that has no such limits; they differ from dam to dam.
        source: Where the numbers come from.
    """

    east: str
    north: str
    rule_id: str
    severity: Severity = Severity.ORANGE
    source: str = "ours"

    @property
    def metric(self) -> str:
        """The metric whose range bounds limits of a device's own."""
        return self.east

    @property
    def below(self) -> bool:
        """The larger the graver."""
        return False

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.east, self.north)

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.rule_id,)

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        return f"step of `{self.east}`, `{self.north}`: 3 days against the 15 before"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundAcceleration:
    """Watch a point on a slope or dam body for acceleration as before a failure.

    Attributes:
        east: Name of the metric of eastward displacement, in mm.
        north: Likewise northward.
        rule_id: The alarm rule it feeds: orange, then red.
        source: Where the numbers come from.
    """

    east: str
    north: str
    rule_id: str
    source: str = "ours"

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.east, self.north)

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.rule_id,)

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        return f"acceleration of `{self.east}`, `{self.north}` against creep and rain steps, 30 d"
