"""One simulated device: its rest, its physics, its counter, its lattice of time.

A device reports at ``phase + n · interval``, counted from 1970: devices do not crowd one moment,
and a simulator that starts again falls in step. A device with an interval of its own keeps it, busy
or idle; the others follow their kind.
"""

from typing import Final

from devices import KINDS
from simulators.chance import share
from simulators.city_devices import CityDevice
from simulators.physics import PHYSICS, Physics
from simulators.physics.pace import Pace
from simulators.rest import RestingDevice

SCENARIO: Final = "rest"
MS: Final = 1000
"""Microseconds a millisecond; the wire tells times in whole milliseconds."""


class Player:
    """One simulated device.

    Args:
        device: Which.
        order: Its number in the list of devices.
        seed: Of the run.
        start: First moment, microseconds UTC; its counter begins there too.
    """

    def __init__(self, device: CityDevice, order: int, seed: int, start: int) -> None:
        kind = KINDS[device.kind]
        self.device = device
        self.order = order
        self.kind = kind
        self.rest = RestingDevice(
            kind, device.device_id, seed=seed, scenario=SCENARIO, lon=device.lon, lat=device.lat
        )
        make = PHYSICS.get(kind.name)
        self.physics: Physics | None = None
        if make is not None:
            self.physics = make(
                kind,
                device.device_id,
                seed=seed,
                lon=device.lon,
                lat=device.lat,
                limits=device.limits,
            )
        self.seq = start // 1_000_000  # a restart goes on above: nobody sends over one a second
        self.busy_us = whole_ms(device.interval_s or kind.interval_s)
        own = device.interval_s or kind.idle_interval_s or kind.interval_s
        self.idle_us = whole_ms(own)
        self.phase = share(seed, SCENARIO, device.device_id, "phase")

    def next_slot(self, at: int, pace: Pace) -> int:
        """Return the first report after ``at``, on a whole millisecond."""
        every = self.idle_us if pace is Pace.IDLE else self.busy_us
        phase = int(self.phase * every) // MS * MS
        return ((at - phase) // every + 1) * every + phase

    def pace(self, at: int) -> Pace:
        """Return how busy it is."""
        return Pace.BUSY if self.physics is None else self.physics.pace(at)

    def measure(self, at: int) -> dict[str, float]:
        """Return what it measures; call it once a message, in order of time."""
        values = self.rest.values(at)
        if self.physics is not None:
            self.physics.apply(at, values)
        return values

    def count(self) -> int:
        """Return the next number of its counter."""
        self.seq += 1
        return self.seq


def whole_ms(seconds: float) -> int:
    """Return seconds as microseconds, on a whole millisecond, at least one."""
    return max(round(seconds * 1000), 1) * MS
