"""A healthy device that nothing happens to: the ground every scene is built on.

Made from the kind's own description alone, so a further kind rests without a line here. The rules
that hold for any kind:

- a metric rests at ``rest`` with Gaussian scatter ``noise``; each device has an offset of its own,
  drawn once from the same scatter, as two sensors are never equal;
- a counter (``grows``) adds ``rest`` in each interval of its kind, counted from 2026, so that it
  goes on after a restart as if there had been none;
- a temperature (``Cel``) swings by 3 Cel around its rest, warmest at 15 h solar time;
- ``lon`` and ``lat`` are where the device stands;
- everything stays within the sensor's range.
"""

import math
from typing import Final

import numpy as np

from devices.kind import DeviceKind, Metric
from simulators.chance import generator, share
from simulators.sun import solar_hour

COUNTED_FROM: Final = 1_767_225_600_000_000
"""2026-01-01 UTC in microseconds: counters of resting devices were near zero then."""
_SWING_CEL: Final = 3.0
_WARMEST_H: Final = 15.0
_DEFAULT_LON: Final = 111.78


class RestingDevice:
    """One resting device.

    Args:
        kind: Its kind.
        device_id: Its id, which with ``seed`` and ``scenario`` decides its chance.
        seed: Of the run.
        scenario: Name of the scenario.
        lon: Where it stands, WGS-84 degrees; None: where its kind rests.
        lat: See ``lon``.
    """

    def __init__(
        self,
        kind: DeviceKind,
        device_id: str,
        *,
        seed: int,
        scenario: str = "rest",
        lon: float | None = None,
        lat: float | None = None,
    ) -> None:
        metrics = kind.metrics
        place = {"lon": lon, "lat": lat}
        self.kind = kind
        self._names = [metric.name for metric in metrics]
        self._low = np.array([metric.low for metric in metrics])
        self._high = np.array([metric.high for metric in metrics])
        self._noise = np.array([0.0 if metric.grows else metric.noise for metric in metrics])
        self._chance = generator(seed, scenario, device_id, "noise")
        own = generator(seed, scenario, device_id, "offset").standard_normal(len(metrics))
        self._rest = np.array([_resting(metric, place) for metric in metrics])
        if not kind.moves:
            self._rest = self._rest + own * self._noise
        grows = np.array([metric.rest if metric.grows else 0.0 for metric in metrics])
        self._rate = grows / (kind.interval_s * 1e6)
        self._started = share(seed, scenario, device_id, "counter") * 1e3 * grows
        self._swing = np.array([_SWING_CEL if metric.unit == "Cel" else 0.0 for metric in metrics])
        self._lon = _DEFAULT_LON if lon is None else lon

    def values(self, at: int) -> dict[str, float]:
        """Return what it measures now, by metric name.

        Each call takes the next numbers of its generator: call it once a record, in order.

        Args:
            at: Event time, microseconds since 1970 UTC.
        """
        values = self._rest + self._noise * self._chance.standard_normal(len(self._names))
        warmth = math.cos((solar_hour(at, self._lon) - _WARMEST_H) * math.pi / 12)
        values += self._swing * warmth
        values += self._started + self._rate * max(at - COUNTED_FROM, 0)
        np.clip(values, self._low, self._high, out=values)
        return dict(zip(self._names, values.tolist(), strict=True))


def _resting(metric: Metric, place: dict[str, float | None]) -> float:
    if metric.grows:
        return 0.0
    where = place.get(metric.name)
    return metric.rest if where is None else where
