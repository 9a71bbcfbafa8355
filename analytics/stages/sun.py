"""The sun over the city: between which moments lamps have no business to burn.

Rise and set of the sun's centre at the horizon, by the low-precision formulas of the Astronomical
Almanac (page C5: longitude of the sun to 0.01° until 2050). Refraction and the hills of a horizon
are a few minutes; whoever asks leaves a margin. Pure: the place comes from the city's settings.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

_DAY_US: Final = 86_400_000_000
_HOUR_US: Final = 3_600_000_000
_J2000_DAY: Final = 10_957.5
"""2000-01-01 12:00 UTC in days since 1970."""
_RISE_DEG: Final = -0.833
"""Height of the sun's centre when its rim is seen at the horizon: refraction and half its disc."""


@dataclass(frozen=True, slots=True)
class Daylight:
    """Sunrise and sunset at one place.

    Args:
        lon: Degrees east, WGS-84.
        lat: Degrees north.
    """

    lon: float
    lat: float
    _days: dict[int, tuple[int, int]] = field(default_factory=dict, compare=False, repr=False)

    def times(self, ts: int) -> tuple[int, int]:
        """Return sunrise and sunset of the solar day that a time lies in, all microseconds UTC.

        >>> from core.model import from_micros
        >>> rise, _ = Daylight(111.78, 37.26).times(1_782_014_400_000_000)
        >>> from_micros(rise).strftime("%F %H:%M")  # on a June day, UTC
        '2026-06-20 21:12'
        """
        return self._of_day((ts + round(self.lon / 15 * _HOUR_US)) // _DAY_US)

    def is_day(self, ts: NDArray[np.int64], margin_us: int) -> NDArray[np.bool_]:
        """Return ``(n,)`` which times lie after sunrise and before sunset by a margin."""
        days = (ts + round(self.lon / 15 * _HOUR_US)) // _DAY_US
        first, last = int(days.min()), int(days.max())
        light = np.zeros(len(ts), np.bool_)
        for day in (first,) if first == last else np.unique(days).tolist():
            rise, sets = self._of_day(day)
            light |= (ts > rise + margin_us) & (ts < sets - margin_us)
        return light

    def _of_day(self, day: int) -> tuple[int, int]:
        known = self._days.get(day)
        if known is None:
            if len(self._days) >= 1024:  # noqa: PLR2004 - a back-test of years needs no more
                self._days.clear()
            known = self._days[day] = self._compute(day)
        return known

    def _compute(self, day: int) -> tuple[int, int]:
        """Return sunrise and sunset of the day whose mean solar noon is ``day`` + 12 h."""
        n = day + 0.5 - self.lon / 360 - _J2000_DAY
        mean = math.radians((280.460 + 0.9856474 * n) % 360)
        anomaly = math.radians((357.528 + 0.9856003 * n) % 360)
        longitude = mean + math.radians(1.915 * math.sin(anomaly) + 0.020 * math.sin(2 * anomaly))
        tilt = math.radians(23.439 - 4e-7 * n)
        right_ascension = math.atan2(math.cos(tilt) * math.sin(longitude), math.cos(longitude))
        declination = math.asin(math.sin(tilt) * math.sin(longitude))
        late_deg = (math.degrees(right_ascension - mean) + 180) % 360 - 180  # equation of time
        phi = math.radians(self.lat)
        cosine = math.sin(math.radians(_RISE_DEG)) - math.sin(phi) * math.sin(declination)
        cosine /= math.cos(phi) * math.cos(declination)
        half = math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) / 360
        noon = day + 0.5 + (late_deg - self.lon) / 360
        return round((noon - half) * _DAY_US), round((noon + half) * _DAY_US)
