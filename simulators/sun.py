"""The sun by date and place: when lamps burn, how bright it is, how warm.

Low-precision formulas of any textbook: declination ``23.44° · sin(360° · (284 + n) / 365)`` and
the equation of time ``9.87 sin 2B - 7.53 cos B - 1.5 sin B`` minutes with ``B = 360° · (n - 81) /
365``, n = day of the year. Good to a few minutes of sunset here; no lamp is switched better.
"""

import math
from functools import lru_cache

from core.model import from_micros

_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000


def solar_hour(at: int, lon: float) -> float:
    """Return the hour of the mean sun, 0 to 24, at microseconds ``at`` and degrees ``lon``.

    >>> solar_hour(0, 105.0)
    7.0
    """
    return (at / _HOUR_US + lon / 15) % 24


@lru_cache(maxsize=4096)
def _of_day(day: int) -> tuple[float, float]:
    """Return declination in radians and equation of time in hours, of a day since 1970."""
    n = from_micros(day * _DAY_US).timetuple().tm_yday
    b = math.radians(360 / 365 * (n - 81))
    declination = math.radians(23.44) * math.sin(math.radians(360 / 365 * (284 + n)))
    minutes = 9.87 * math.sin(2 * b) - 7.53 * math.cos(b) - 1.5 * math.sin(b)
    return declination, minutes / 60


def elevation(at: int, lon: float, lat: float) -> float:
    """Return the height of the sun over the horizon.

    Args:
        at: Microseconds since 1970 UTC.
        lon: Degrees east.
        lat: Degrees north.

    Returns:
        Degrees; negative at night.

    >>> noon_in_june = 1_782_014_400_000_000  # 2026-06-21T04:00Z
    >>> round(elevation(noon_in_june, 120.0, 37.26))
    76
    """
    declination, late = _of_day(at // _DAY_US)
    angle = math.radians(15 * (solar_hour(at, lon) + late - 12))
    phi = math.radians(lat)
    height = math.sin(phi) * math.sin(declination)
    height += math.cos(phi) * math.cos(declination) * math.cos(angle)
    return math.degrees(math.asin(max(-1.0, min(1.0, height))))


def night(day: int, lat: float, below: float) -> float:
    """Return half the length of a night, in hours before and after solar midnight.

    Args:
        day: Days since 1970 UTC.
        lat: Degrees north.
        below: Night is where the sun is lower than this, in degrees.
    """
    declination, _ = _of_day(day)
    phi = math.radians(lat)
    cosine = math.sin(math.radians(below)) - math.sin(phi) * math.sin(declination)
    cosine /= math.cos(phi) * math.cos(declination)
    return 12 - math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) / 15


def daylight(height: float) -> float:
    """Return the daylight in lux for a height of the sun in degrees; a clear sky, no moon.

    >>> daylight(-10.0), round(daylight(90.0))
    (0.0, 110000)
    """
    if height >= 0:
        return 400 + 109_600 * math.pow(math.sin(math.radians(height)), 1.2)
    return 400 * max(0.0, 1 + height / 6) ** 2  # civil twilight ends at -6°
