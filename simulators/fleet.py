"""The fleet: all devices of a city, published over real MQTT, in real or in virtual time.

A handful of connections carries all devices; a device always takes the same one, so that its order
holds. The schedule is fixed in advance: a message that goes late keeps its intended time, and the
lag is measured and logged. When the broker was away for long, what is older than ten minutes is not
caught up: those devices slept.
"""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from core.clock import Clock, ScaledClock, SystemClock
from core.errors import ConfigError
from simulators.chance import generator
from simulators.city_devices import CityDevice
from simulators.city_files import read_devices
from simulators.control import Desk, open_desk
from simulators.courier import Courier, Login
from simulators.life import Life
from simulators.stream import Message, Performance, Stream
from simulators.truth import TruthFile

log = logging.getLogger(__name__)

_LONGEST_SLEEP_S: Final = 0.5
_LATE_US: Final = 600_000_000
_REPORT_US: Final = 60_000_000


class Fleet:
    """A stream, the couriers that carry it, and its own measurements.

    Args:
        stream: What is said.
        couriers: Who carries it.
        clock: The time of the devices.
        speed: Virtual seconds a second, as the clock runs.
        life: Scenes that begin by themselves.
    """

    def __init__(
        self,
        stream: Stream,
        couriers: Sequence[Courier],
        *,
        clock: Clock,
        speed: float = 1.0,
        life: Life | None = None,
    ) -> None:
        self.sent = 0
        self.worst_lag_s = 0.0
        self._stream = stream
        self._couriers = couriers
        self._clock = clock
        self._speed = speed
        self._life = life
        self._woken = asyncio.Event()
        self._report_at = clock.micros() + _REPORT_US

    def wake(self) -> None:
        """Look again: something was begun or ended."""
        self._woken.set()

    def status(self) -> dict[str, Any]:
        """Return how it is doing, for ``cityhub simulate status``."""
        return {
            "sent": self.sent,
            "acknowledged": sum(courier.acknowledged for courier in self._couriers),
            "pending": sum(courier.pending for courier in self._couriers),
            "connected": sum(courier.connected for courier in self._couriers),
            "connections": len(self._couriers),
            "worst_lag_s": round(self.worst_lag_s, 3),
        }

    async def run(self) -> NoReturn:
        """Say what is due, for ever."""
        while True:
            now = self._clock.micros()
            if self._stream.next_at() < now - _LATE_US * max(self._speed, 1.0):
                log.warning("devices slept, what was due is left out", extra=self.status())
                self._stream.skip_to(now)
            if self._life is not None and (begun := self._life.step(now)):
                tell_begun(self._stream.on[begun])
            await self._say_until(now)
            self._report(now)
            await self._rest()

    async def _say_until(self, now: int) -> None:
        for message in self._stream.until(now):
            await self._couriers[message.order % len(self._couriers)].put(message)
            self.sent += 1
            self._measure(message)

    def _measure(self, message: Message) -> None:
        lag = (self._clock.micros() - message.at) / 1e6 / self._speed
        self.worst_lag_s = max(self.worst_lag_s, lag)

    def _report(self, now: int) -> None:
        if now >= self._report_at:
            log.info("fleet publishes", extra=self.status())
            self._report_at = now + round(_REPORT_US * self._speed)
            self.worst_lag_s = 0.0

    async def _rest(self) -> None:
        """Wait for the next thing due, or for a nudge."""
        due = self._stream.next_at()
        if self._life is not None:
            due = min(due, self._life.next_at())
        wait = (due - self._clock.micros()) / 1e6 / self._speed
        self._woken.clear()
        with suppress(TimeoutError):  # not wait_for, which in 3.11 may swallow a cancellation
            async with asyncio.timeout(min(max(wait, 0.0), _LONGEST_SLEEP_S)):
                await self._woken.wait()


def tell_begun(performance: Performance) -> None:
    """Log that a scene began, for whoever watches."""
    log.info("scene begins", extra={"about": performance.scene.about.en, **_short(performance)})


def _short(performance: Performance) -> Mapping[str, Any]:
    facts = performance.describe()
    return {
        "scene": facts["scene"],
        "id": facts["id"],
        "node": facts["node"],
        "devices": len(facts["devices"]),
        "until": facts["end"],
    }


def check_host(host: str, *, allow_remote: bool) -> None:
    """Keep what is simulated on this machine.

    Raises:
        ConfigError: The host is another machine, and nobody allowed it.
    """
    if host not in {"127.0.0.1", "::1", "localhost"} and not allow_remote:
        raise ConfigError(
            f"{host} is another machine; simulated devices go there only with --allow-remote"
        )


async def run_fleet(
    *,
    broker_host: str,
    broker_port: int,
    username: str | None = None,
    password: str | None = None,
    devices: Sequence[CityDevice] | Path,
    seed: int = 7,
    clock: Clock | None = None,
    speed: float = 1.0,
    truth: Path | None = None,
    control: Path | None = None,
    life: bool = False,
    first_s: float | None = None,
    connections: int = 4,
    allow_remote: bool = False,
) -> None:
    """Publish a city until cancelled.

    Args:
        broker_host: Where the broker is; another than loopback only with ``allow_remote``.
        broker_port: Its MQTT port.
        username: Login with the right to publish for all devices.
        password: Its password.
        devices: The devices, or the ``devices.csv`` of :func:`simulators.city_files.write_city`.
        seed: The same seed, start and scenes give the same bytes.
        clock: The time of the devices; unset: the wall's, or from now on at ``speed``.
        speed: Virtual seconds a second, as ``clock`` runs.
        truth: Where scenes are written down.
        control: Unix socket on which scenes are begun and ended.
        life: Scenes begin by themselves.
        first_s: Seconds until the first of them; unset: 20.
        connections: How many MQTT connections; 1 where the broker takes the login for client id.
        allow_remote: Publish to another machine.

    Raises:
        ConfigError: The host is another machine, or the list of devices cannot be read.
        StartError: The control socket cannot be opened.
    """
    check_host(broker_host, allow_remote=allow_remote)
    if clock is None:
        wall = SystemClock()
        clock = wall if speed == 1 else ScaledClock(wall.now(), wall.micros() / 1e6, speed)
    start = clock.micros()
    known = read_devices(devices) if isinstance(devices, Path) else devices
    stream = Stream(known, seed=seed, start=start, truth=TruthFile(truth))
    login = Login(broker_host, broker_port, username, password)
    couriers = [
        Courier(
            login,
            f"cityhub-sim-{os.getpid()}-{number}",
            chance=generator(seed, "fleet", str(number), "pauses"),
        )
        for number in range(connections)
    ]
    alive = None
    if life:
        wait_s = {} if first_s is None else {"first_s": first_s}
        alive = Life(stream, seed=seed, start=start, **wait_s)
    fleet = Fleet(stream, couriers, clock=clock, speed=speed, life=alive)
    log.info("fleet starts", extra={"devices": len(known), "seed": seed, "speed": speed})
    desk = Desk(stream, now=clock.micros, status=fleet.status, changed=fleet.wake)
    door = nullcontext() if control is None else open_desk(control, desk.handle)
    async with door, asyncio.TaskGroup() as tasks:
        for courier in couriers:
            tasks.create_task(courier.run())
        await fleet.run()
