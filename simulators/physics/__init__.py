"""What nature and work do to a resting device; simple, explained, one formula each.

A kind without physics rests as its description says. Physics has no memory: all of it follows from
the time, so a restarted simulator goes on as if it had never stopped, and virtual time may jump.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from devices.kind import DeviceKind
from simulators.physics.cover import Cover
from simulators.physics.lamp import Lamp
from simulators.physics.movers import Vehicle, Worker
from simulators.physics.pace import Pace
from simulators.physics.water import Gauge


class Physics(Protocol):
    """What happens around one device."""

    def pace(self, at: int) -> Pace:
        """Return how busy the device is at this time, in microseconds UTC."""

    def apply(self, at: int, values: dict[str, float]) -> None:
        """Change what the resting device measures to what it measures here and now."""


class _Make(Protocol):
    def __call__(
        self,
        kind: DeviceKind,
        device_id: str,
        *,
        seed: int,
        lon: float,
        lat: float,
        limits: Mapping[str, Any],
    ) -> Physics: ...


PHYSICS: Final[Mapping[str, _Make]] = {
    "manhole_cover": Cover,
    "street_lamp": Lamp,
    "sanitation_vehicle": Vehicle,
    "sanitation_worker": Worker,
    "water_gauge": Gauge,
}
"""Physics by kind."""
