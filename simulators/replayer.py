"""Plays recorded traffic again over real MQTT, at its own pace or faster, at its own time or now.

All times lie on one line: at speed *s*, what was recorded *x* seconds after the first message goes
out *x / s* seconds after the start. Shifted to now, the times inside the payloads are put on the
same line, so a device that was ten seconds late is again, by *10 / s*, and the order of each
device's readings holds whatever the speed. A device always takes the same connection, so the order
of its messages holds too; QoS and retain are as recorded.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from core.clock import Clock
from core.errors import ConfigError
from core.recording import Recorded, Recording
from devices.retiming import retime
from devices.topics import topic_matches
from simulators.chance import generator
from simulators.courier import Courier, Login
from simulators.fleet import check_host
from simulators.stream import Message

log = logging.getLogger(__name__)

_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where the times of a recording lie now.

    Attributes:
        origin: Time of its first message, microseconds UTC.
        start: When that one goes out, likewise.
        speed: Recorded seconds a second.
    """

    origin: int
    start: int
    speed: float

    def place(self, at: int) -> int:
        """Return where a recorded time lies.

        >>> Timeline(1_000_000, 60_000_000, 10).place(3_000_000)
        60200000
        """
        return self.start + round((at - self.origin) / self.speed)


async def run_replay(
    *,
    broker_host: str,
    broker_port: int,
    username: str | None,
    password: str | None,
    path: Path,
    clock: Clock,
    speed: float = 1.0,
    shift: bool = False,
    loop: bool = False,
    wanted: str = "#",
    connections: int = 4,
    allow_remote: bool = False,
) -> int:
    """Play a recording; return how many messages the broker acknowledged.

    Args:
        broker_host: Where the broker is; another than loopback only with ``allow_remote``.
        broker_port: Its MQTT port.
        username: Login with the right to publish for all devices.
        password: Its password.
        path: The recording.
        clock: The time.
        speed: Recorded seconds a second.
        shift: Move the times inside the payloads to now.
        loop: Begin again at the end, for ever.
        wanted: Topic filter of what is played.
        connections: How many MQTT connections; 1 where the broker takes the login for client id.
        allow_remote: Publish to another machine.

    Raises:
        ConfigError: The host is another machine, the speed no speed, or the file no recording.
    """
    check_host(broker_host, allow_remote=allow_remote)
    if not 0 < speed <= 1e6:  # noqa: PLR2004 - a bound against typing errors
        raise ConfigError(f"--speed {speed}: it must be above 0 and at most 1,000,000")
    recording = Recording(path)
    if recording.first is None:
        raise ConfigError(f"the recording {path} is empty")
    login = Login(broker_host, broker_port, username, password)
    couriers = [
        Courier(
            login,
            f"cityhub-replay-{os.getpid()}-{number}",
            chance=generator(0, "replay", str(number), "pauses"),
        )
        for number in range(connections)
    ]
    async with asyncio.TaskGroup() as group:
        carrying = [group.create_task(courier.run()) for courier in couriers]
        while True:
            line = Timeline(recording.first, clock.micros(), speed)
            await _play(recording, couriers, line, clock, shift=shift, wanted=wanted)
            if not loop:
                break
        while any(courier.pending for courier in couriers):  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(_POLL_S)
        for task in carrying:
            task.cancel()
    return sum(courier.acknowledged for courier in couriers)


async def _play(
    recording: Recording,
    couriers: Sequence[Courier],
    line: Timeline,
    clock: Clock,
    *,
    shift: bool,
    wanted: str,
) -> None:
    for recorded in recording.read():
        topic = recorded.topic.decode("utf-8", "replace")
        if not topic_matches(wanted, topic):
            continue
        await _until(line.place(recorded.at), clock)
        message = _message(recorded, topic, line if shift else None)
        await couriers[message.order % len(couriers)].put(message)


async def _until(due: int, clock: Clock) -> None:
    while True:
        wait = due - clock.micros()
        if wait <= 0:
            return
        await asyncio.sleep(min(wait / 1e6, 1.0))


def _message(recorded: Recorded, topic: str, line: Timeline | None) -> Message:
    payload = recorded.payload if line is None else retime(recorded.payload, line.place)
    device = "/".join(topic.split("/")[:2])
    at = recorded.at if line is None else line.place(recorded.at)
    return Message(at, crc32(device.encode()), topic, payload, recorded.qos, recorded.retain)
