"""Water at a gauge: a level that breathes with the pumps, and discharge that follows the level.

``level = base + 2 cm · sin(6 h) + 1 cm · sin(1.7 h)`` with a phase of its own at each station, and
a rating curve of the usual shape: ``flow ~ depth^1.6``, ``velocity ~ depth^0.6``.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from devices.kind import DeviceKind
from simulators.chance import share
from simulators.physics.pace import Pace

BELOW_WARNING_M: Final = 1.5
"""How far under its warning level (警戒水位) a station of ours rests."""
_WAVES: Final = ((0.02, 6.0), (0.01, 1.7))  # metres, hours
_HOUR_US: Final = 3_600_000_000


class Gauge:
    """One water gauge. It rests below the warning level of its own, if it has one."""

    def __init__(
        self,
        kind: DeviceKind,
        device_id: str,
        *,
        seed: int,
        lon: float,
        lat: float,
        limits: Mapping[str, Any],
    ) -> None:
        del lon, lat
        warning = limits.get("level", {}).get("orange")
        rest = kind.metric("level").rest
        self._base = 0.0 if warning is None else warning - BELOW_WARNING_M - rest
        self._phase = 2 * math.pi * share(seed, "rest", device_id, "water")

    def pace(self, at: int) -> Pace:
        """See :meth:`simulators.physics.Physics.pace`."""
        del at
        return Pace.BUSY

    def apply(self, at: int, values: dict[str, float]) -> None:
        """See :meth:`simulators.physics.Physics.apply`."""
        turns = 2 * math.pi * at / _HOUR_US
        breath = sum(high * math.sin(turns / hours + self._phase) for high, hours in _WAVES)
        values["level"] += self._base
        raise_water(values, breath)


def raise_water(values: dict[str, float], rise: float) -> None:
    """Let the water at a gauge stand higher by some metres, with all that follows."""
    before = max(values["depth"], 0.05)
    after = max(before + rise, 0.05)
    values["level"] += rise
    values["depth"] = after
    values["flow"] *= (after / before) ** 1.6
    values["vel"] *= (after / before) ** 0.6
