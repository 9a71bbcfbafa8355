"""Records what goes over an MQTT broker: topic, payload, QoS, retain and the time of receipt.

It subscribes beside the hub, with a session of its own that the broker forgets at the end. What the
broker retains comes first, as to every new subscriber, and is marked so in the recording. The file
is written through every second: that much is lost when the recorder is killed.
"""

import asyncio
import logging
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

import aiomqtt

from core.clock import Clock
from core.errors import ConfigError
from core.recording import Recorded, RecordingWriter
from simulators.courier import Login

log = logging.getLogger(__name__)

_WRITE_EVERY_S: Final = 1.0
_RETRY_S: Final = 1.0


class Recorder:
    """Writes what a subscription brings.

    Args:
        login: Where to listen.
        wanted: The topic filter.
        path: The recording; appended to where it is there.
        clock: The time of receipt.
        most: End after so many messages; None: never.
        v5: Speak MQTT 5, which tells content types.
    """

    def __init__(
        self,
        login: Login,
        *,
        wanted: str,
        path: Path,
        clock: Clock,
        most: int | None = None,
        v5: bool = False,
    ) -> None:
        self.count = 0
        self.listening = asyncio.Event()
        """Set while the broker has granted the subscription."""
        self._login = login
        self._wanted = wanted
        self._path = path
        self._clock = clock
        self._most = most
        self._v5 = v5

    async def run(self) -> None:
        """Record until cancelled, or until there are enough; a lost broker is tried again.

        Raises:
            ConfigError: The file cannot be written, or the broker refuses the subscription.
        """
        with RecordingWriter(self._path) as writer:
            flushing = asyncio.create_task(self._flush(writer))
            try:
                while True:
                    try:
                        await self._listen(writer)
                    except aiomqtt.MqttCodeError as error:
                        raise ConfigError(f"the broker refuses us: {error}") from error
                    except (aiomqtt.MqttError, OSError) as error:
                        log.warning(
                            "broker lost, trying again; what it carries now is not recorded",
                            extra={"reason": str(error) or repr(error), "retry_in_s": _RETRY_S},
                        )
                        await asyncio.sleep(_RETRY_S)
                    else:
                        return
            finally:
                flushing.cancel()
                with suppress(asyncio.CancelledError):
                    await flushing

    async def _listen(self, writer: RecordingWriter) -> None:
        client = aiomqtt.Client(
            self._login.host,
            self._login.port,
            username=self._login.username,
            password=self._login.password,
            identifier=f"cityhub-record-{secrets.token_hex(6)}",
            protocol=aiomqtt.ProtocolVersion.V5 if self._v5 else aiomqtt.ProtocolVersion.V311,
        )
        try:
            async with client:
                await client.subscribe(self._wanted, qos=1)
                self.listening.set()
                async for message in client.messages:
                    writer.append(self._recorded(message))
                    self.count += 1
                    if self.count == self._most:
                        return
        finally:
            self.listening.clear()

    def _recorded(self, message: aiomqtt.Message) -> Recorded:
        payload = message.payload if isinstance(message.payload, bytes) else b""
        kind = getattr(message.properties, "ContentType", "") if message.properties else ""
        return Recorded(
            self._clock.micros(),
            message.topic.value.encode(),
            payload,
            message.qos,
            message.retain,
            kind,
        )

    async def _flush(self, writer: RecordingWriter) -> None:
        while True:
            await asyncio.sleep(_WRITE_EVERY_S)
            writer.flush()
