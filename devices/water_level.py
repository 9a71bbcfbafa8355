"""What gauges are watched for beside their warning levels: how the water rises, and the sensor."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterLevel:
    """Watch a level for rising, and its sensor for what sensors do (QARTOD tests).

    Attributes:
        metric: Name of the level, in metres. Its limits say where the water is going.
        rise_rule: Alarm rule of a rise that is faster than usual.
        stuck_rule: Of a value or a noise that is frozen.
        drift_rule: Of a slow drift that a neighbour proves.
        suspect_rule: Of one that nothing proves, and of a sudden fall that stays: no alarm.
        spike_rule: Of a row that jumps and is back with the next one: no alarm.
        source: Where the numbers come from.
    """

    metric: str
    rise_rule: str
    stuck_rule: str
    drift_rule: str
    suspect_rule: str
    spike_rule: str
    source: str = "ours"

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (self.metric,)

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (
            self.rise_rule,
            self.stuck_rule,
            self.drift_rule,
            self.suspect_rule,
            self.spike_rule,
        )

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        return f"`{self.metric}` rising, spiking, frozen or drifting"
