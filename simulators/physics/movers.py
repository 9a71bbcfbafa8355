"""Vehicles and workers on their beats: a loop of streets around where they belong.

The way made is a closed formula of the time worked, so position, course, speed and odometer agree
with one another, and a vehicle is where it would have been if the simulator had not been stopped.
A shift is 16 of 24 hours and begins at another hour for each, so two of three are always at work.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from devices.kind import DeviceKind
from simulators.chance import share
from simulators.physics.pace import Pace
from simulators.places import loop_around
from simulators.rest import COUNTED_FROM

_DAY_S: Final = 86_400.0
_SHIFT_S: Final = 57_600.0
_KMH: Final = 3.6


class Beat:
    """When somebody works, and on which loop.

    Args:
        device_id: Whose beat.
        seed: Of the run.
        lon: Where it belongs, degrees.
        lat: See ``lon``.
        size: Least and greatest number of blocks along each side.
    """

    def __init__(
        self, device_id: str, *, seed: int, lon: float, lat: float, size: tuple[int, int]
    ) -> None:
        def pick(stream: str) -> float:
            return share(seed, "rest", device_id, stream)

        least, most = size
        wide, high = (least + int(pick(side) * (most - least + 1)) for side in ("wide", "high"))
        self.loop = loop_around(lon, lat, wide, high)
        self.home = (lon, lat)
        self.begins = pick("shift") * _DAY_S
        self.pick = pick

    def worked(self, at: int) -> tuple[float, bool]:
        """Return the seconds worked since 2026, and whether it is working now."""
        since = (at - COUNTED_FROM) / 1e6 - self.begins
        days, today = divmod(since, _DAY_S)
        return days * _SHIFT_S + min(today, _SHIFT_S), today < _SHIFT_S


_SIZES: Final = {"sanitation_vehicle": (3, 7), "sanitation_worker": (1, 2)}
"""Least and greatest number of blocks along each side of a loop, by kind."""


def beat_of(kind: str, device_id: str, *, seed: int, lon: float, lat: float) -> Beat:
    """Return the beat of a vehicle or a worker."""
    return Beat(device_id, seed=seed, lon=lon, lat=lat, size=_SIZES[kind])


class Vehicle:
    """A sweeper: 35 minutes of sweeping at 4 to 12 km/h, then 5 minutes' drive for water.

    In a cycle the tank runs from full to empty and the load from empty to full. Sweeping speed is
    ``v · (1 + 0.3 · sin(2π · t / 7 min))``, whose integral is the way.
    """

    _SWEEP_S: Final = 2100.0
    _CYCLE_S: Final = 2400.0
    _WAVE_S: Final = 420.0
    _SWELL: Final = 0.3
    _DRIVE: Final = 30 / _KMH

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
        self._beat = beat_of(kind.name, device_id, seed=seed, lon=lon, lat=lat)
        self._sweep = (6 + 2.5 * self._beat.pick("speed")) / _KMH
        self._late = self._beat.pick("cycle") * self._CYCLE_S
        self._odo = 80_000 * self._beat.pick("odo")
        self._rest = {metric.name: metric.rest for metric in kind.metrics}

    def pace(self, at: int) -> Pace:
        """See :meth:`simulators.physics.Physics.pace`."""
        return Pace.BUSY if self._beat.worked(at)[1] else Pace.IDLE

    def apply(self, at: int, values: dict[str, float]) -> None:
        """See :meth:`simulators.physics.Physics.apply`."""
        worked, working = self._beat.worked(at)
        cycles, into = divmod(worked + self._late, self._CYCLE_S)
        way = cycles * self._way(self._CYCLE_S) + self._way(into)
        sweeping = working and into < self._SWEEP_S
        done = min(into / self._SWEEP_S, 1.0)
        lon, lat, course = self._beat.loop.at(way)
        truth = {
            "speed": _KMH * self._speed(into) if working else 0.0,
            "course": course,
            "water": 95 - 85 * done,
            "load": 5 + 80 * done,
            "weigh": 400 + 4800 * done,
            "fuel": 90 - 60 * (worked / _SHIFT_S % 1.0),
            "rpm": self._rest["rpm"] if sweeping else 0.0,
        }
        for name, value in truth.items():
            values[name] = max(0.0, value + values[name] - self._rest[name])
        values["lon"] += lon - self._beat.home[0]
        values["lat"] += lat - self._beat.home[1]
        values["course"] %= 360
        values["odo"] = self._odo + way / 1000
        if not working:
            values["speed"] = 0.0
        for name in ("brush", "spray", "pto"):
            values[name] = float(sweeping)
        values["acc"] = float(working)
        values["rpm"] = values["rpm"] if sweeping else 0.0

    def _speed(self, into: float) -> float:
        if into >= self._SWEEP_S:
            return self._DRIVE
        return self._sweep * (1 + self._SWELL * math.sin(2 * math.pi * into / self._WAVE_S))

    def _way(self, into: float) -> float:
        """Return the metres made since the cycle began: the integral of :meth:`_speed`."""
        swept = min(into, self._SWEEP_S)
        wave = self._WAVE_S / (2 * math.pi)
        swell = self._SWELL * wave * (1 - math.cos(swept / wave))
        return self._sweep * (swept + swell) + self._DRIVE * (into - swept)


class Worker:
    """A worker on foot: 20 minutes of walking and sweeping, 5 of standing; 1.5 steps a metre."""

    _WALK_S: Final = 1200.0
    _CYCLE_S: Final = 1500.0

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
        self._beat = beat_of(kind.name, device_id, seed=seed, lon=lon, lat=lat)
        self._walk = 0.4 + 0.4 * self._beat.pick("speed")
        self._late = self._beat.pick("cycle") * self._CYCLE_S

    def pace(self, at: int) -> Pace:
        """See :meth:`simulators.physics.Physics.pace`."""
        return Pace.BUSY if self._beat.worked(at)[1] else Pace.ASLEEP

    def apply(self, at: int, values: dict[str, float]) -> None:
        """See :meth:`simulators.physics.Physics.apply`."""
        worked, _ = self._beat.worked(at)
        way = self._way(worked)
        lon, lat, _ = self._beat.loop.at(way)
        values["lon"] += lon - self._beat.home[0]
        values["lat"] += lat - self._beat.home[1]
        values["steps"] = 1.5 * (way - self._way(worked - worked % _SHIFT_S))
        stood = (worked + self._late) % self._CYCLE_S - self._WALK_S
        values["still"] = max(0.0, stood / 60)

    def _way(self, worked: float) -> float:
        """Return the metres walked in so many seconds of work since 2026."""
        cycles, into = divmod(worked + self._late, self._CYCLE_S)
        return self._walk * (cycles * self._WALK_S + min(into, self._WALK_S))
