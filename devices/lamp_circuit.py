"""What a lamp is watched for beside its limits: its electrical circuit (路灯电气故障)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LampCircuit:
    """Watch the circuit of a lamp (灯具电气故障), by the sun and by its own learnt figures.

    Attributes:
        out_rule: Alarm rule of a lamp that is dark with its switch on: open circuit, no supply, or
            dead.
        short_rule: Of a current far over its own.
        day_rule: Of a lamp that burns by day, by the sun over the city.
        weak_rule: Of power under its own learnt power.
        pf_rule: Of a power factor that decays.
        leak_rule: Of leakage that grows; the limit that kills is a :class:`devices.kind.Limit`.
        flicker_rule: Of a lamp that goes on and off with its switch on.
        source: Where the numbers come from.
    """

    out_rule: str
    short_rule: str
    day_rule: str
    weak_rule: str
    pf_rule: str
    leak_rule: str
    flicker_rule: str
    source: str = "ours"

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return ("on", "level", "volt", "amp", "power", "pf", "leak", "lux")

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`devices.kind.Watch`."""
        return (
            self.out_rule,
            self.short_rule,
            self.day_rule,
            self.weak_rule,
            self.pf_rule,
            self.leak_rule,
            self.flicker_rule,
        )

    @property
    def about(self) -> str:
        """See :class:`devices.kind.Watch`."""
        return "the lamp's circuit by `on`, `power`, `amp`, `pf`, `leak`, and the sun"
