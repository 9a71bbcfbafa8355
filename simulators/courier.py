"""One MQTT connection that carries the messages of many devices, in order, and loses none.

QoS 1 on MQTT 3.1.1. A message stays here until its PUBACK: after a broken connection all that are
unacknowledged go again, oldest first, before any new one, so the order of each device holds and the
hub sees at worst a duplicate. The window bounds what is in flight, the queue what waits; when both
are full the one who fills them waits too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiomqtt
import numpy as np

from simulators.stream import Message

log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_PUBACK_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Login:
    """Where the broker is, and who we are there.

    Attributes:
        host: Name or address.
        port: TCP port of its MQTT listener.
        username: Login; None: the broker asks for none.
        password: Its password.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = None


class Courier:
    """Publishes what is put into it, for ever.

    Args:
        login: Where to.
        name: MQTT client id, unique at the broker.
        chance: Jitter of its pauses.
        window: The most messages in flight.
        waiting: The most messages that wait.
    """

    def __init__(
        self,
        login: Login,
        name: str,
        *,
        chance: np.random.Generator,
        window: int = 20,
        waiting: int = 500,
    ) -> None:
        self.acknowledged = 0
        self.connected = False
        self._login = login
        self._name = name
        self._chance = chance
        self._window = window
        self._queue: asyncio.Queue[Message] = asyncio.Queue(waiting)
        self._unacknowledged: dict[int, Message] = {}
        self._taken = 0

    @property
    def pending(self) -> int:
        """How many messages wait or are in flight."""
        return self._queue.qsize() + len(self._unacknowledged)

    async def put(self, message: Message) -> None:
        """Hand over a message; waits while there is no room."""
        await self._queue.put(message)

    async def run(self) -> None:
        """Publish until cancelled, over as many connections as it takes."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                async with self._connection() as client:
                    pause = _FIRST_PAUSE_S
                    await self._carry(client)
            except* (aiomqtt.MqttError, OSError) as group:
                log.warning(
                    "broker lost, trying again",
                    extra={
                        "courier": self._name,
                        "reason": str(group.exceptions[0]),
                        "unacknowledged": len(self._unacknowledged),
                        "retry_in_s": pause,
                    },
                )
            _end_if_cancelled()
            await asyncio.sleep(pause * (0.5 + self._chance.random()))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiomqtt.Client]:
        client = aiomqtt.Client(
            self._login.host,
            self._login.port,
            username=self._login.username,
            password=self._login.password,
            identifier=self._name,
            protocol=aiomqtt.ProtocolVersion.V311,
            max_inflight_messages=self._window,
            timeout=_PUBACK_S,
        )
        client.pending_calls_threshold = 2 * self._window  # the window bounds them, no warning
        try:
            async with client:
                self.connected = True
                yield client
        finally:
            self.connected = False

    async def _carry(self, client: aiomqtt.Client) -> None:
        room = asyncio.Semaphore(self._window)
        async with asyncio.TaskGroup() as flights:
            for number in list(self._unacknowledged):
                await room.acquire()
                flights.create_task(self._fly(client, number, room))
            while True:
                message = await self._queue.get()
                self._taken += 1
                self._unacknowledged[self._taken] = message
                await room.acquire()
                flights.create_task(self._fly(client, self._taken, room))

    async def _fly(self, client: aiomqtt.Client, number: int, room: asyncio.Semaphore) -> None:
        """Publish one message and wait for its PUBACK."""
        message = self._unacknowledged[number]
        await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
        del self._unacknowledged[number]
        self.acknowledged += 1
        room.release()


def _end_if_cancelled() -> None:
    """Go on being cancelled: a task group drops that when a publication fails in the same moment.

    Raises:
        asyncio.CancelledError: This task is being cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
