"""Street lamps follow the sun: lit while it is more than a degree below the horizon.

From solar midnight on they burn at 40 % for five hours. ``power = 120 W · level``, ``amp = power /
(volt · pf)``, the driver is 25 Cel warmer while lit, and the meter has counted all nights since
2026, so that it grows by what ``power`` says also over a restart.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from devices.kind import DeviceKind
from simulators.chance import share
from simulators.physics.pace import Pace
from simulators.rest import COUNTED_FROM
from simulators.sun import daylight, elevation, night, solar_hour

LIT_BELOW_DEG: Final = -1.0
DIM_LEVEL: Final = 40.0
DIM_HOURS: Final = 5.0
_FULL_W: Final = 120.0
_STANDBY_W: Final = 0.8
_DRIVER_CEL: Final = 25.0
_DAY_US: Final = 86_400_000_000
_FIRST_NIGHT: Final = COUNTED_FROM // _DAY_US


class Lamp:
    """One lamp in the light of the day."""

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
        del limits
        self._lon, self._lat = lon, lat
        self._watts = kind.metric("power").rest
        self._meter = 1500 * share(seed, "rest", device_id, "meter")

    def pace(self, at: int) -> Pace:
        """See :meth:`simulators.physics.Physics.pace`."""
        lit = elevation(at, self._lon, self._lat) < LIT_BELOW_DEG
        return Pace.BUSY if lit else Pace.IDLE

    def apply(self, at: int, values: dict[str, float]) -> None:
        """See :meth:`simulators.physics.Physics.apply`."""
        height = elevation(at, self._lon, self._lat)
        lit = height < LIT_BELOW_DEG
        level = _level(solar_hour(at, self._lon)) if lit else 0.0
        scatter = values["power"] / self._watts
        values["on"] = float(lit)
        values["level"] = level
        values["power"] = _FULL_W * level / 100 * scatter if lit else _STANDBY_W
        values["amp"] = values["power"] / (values["volt"] * values["pf"])
        values["lux"] = max(0.0, values["lux"] + daylight(height))
        values["temp"] -= 0 if lit else _DRIVER_CEL
        burnt = burnt_hours(at / _DAY_US + self._lon / 360, round(self._lat, 1))
        values["energy"] = self._meter + _FULL_W / 1000 * burnt


def _level(hour: float) -> float:
    return DIM_LEVEL if hour < DIM_HOURS else 100.0


def burnt_hours(day: float, lat: float) -> float:
    """Return for how many hours at full power a lamp has burnt since 2026.

    Args:
        day: Days of the mean sun since 1970, with their fraction.
        lat: Degrees north.
    """
    midnight = int(day + 0.5)
    return _nights_before(midnight, lat) + _night_so_far(
        24 * (day - midnight), night(midnight, lat, LIT_BELOW_DEG)
    )


@lru_cache(maxsize=64)
def _nights_before(midnight: int, lat: float) -> float:
    halves = (night(day, lat, LIT_BELOW_DEG) for day in range(_FIRST_NIGHT, midnight))
    return sum(_night_so_far(12, half) for half in halves)


def _night_so_far(hour: float, half: float) -> float:
    """Return full hours of one night, ``half`` hours before and after midnight, until ``hour``."""
    hour = max(-half, min(hour, half))
    if hour <= 0:
        return hour + half
    dim = min(hour, DIM_HOURS)
    return half + dim * DIM_LEVEL / 100 + (hour - dim)
