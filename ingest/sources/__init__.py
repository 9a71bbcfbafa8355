"""Where messages come from: one small protocol, and one contract suite over all that keep it.

``mqtt`` is a session on mosquitto, EMQX or any city broker; ``jetstream`` the log of a NATS,
embedded or cluster; ``replay`` a recording; ``memory`` a list, for tests and whole-city
simulations.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a source can promise.

    Attributes:
        ordered: Messages of one device come in the order in which they were published.
        replayable: What was committed can be read again from an earlier position.
        offsets: It stands in a log: the position moves in the transaction of the readings, and is
            the fence. Else it is acknowledged after COMMIT, and the epoch is the fence.
    """

    ordered: bool
    replayable: bool
    offsets: bool


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Messages as they came, in order.

    Attributes:
        topics: UTF-8 bytes of each topic, with ``/`` between its levels.
        payloads: The bytes of each message.
        received_at: ``received_at[i]`` is when message ``i`` reached the city's side, microseconds
            UTC by the hub's clock: when a log stored it; where there is none, when it was taken off
            the wire.
        epoch: Epoch of the session that took them; compared in the transaction where the source
            has no offsets.
        after: Position of the log just before the first message; 0 where there is no log.
        position: Position of the last message.
        content_types: MQTT 5 content types by index, where one was given.
        token: The source's own: what :meth:`Source.committed` needs to acknowledge them.
    """

    topics: list[bytes]
    payloads: list[bytes]
    received_at: list[int]
    epoch: int
    after: int
    position: int
    content_types: dict[int, str]
    token: Any = None

    def __len__(self) -> int:
        return len(self.payloads)


class Source(Protocol):
    """Where messages come from. One reader at a time.

    A batch that was read and never committed comes again after a restart; hence there is no orderly
    shutdown to get wrong.
    """

    name: str
    capabilities: Capabilities

    def read(self, position: int) -> AsyncIterator[RawBatch]:
        """Yield batches for ever, reconnecting by itself with jitter.

        A batch closes at ``batch`` messages, at two mebibytes of payload, or ``linger`` after its
        first one. Nothing further is
        taken off the wire while the reader of this iterator is busy and the window is full.

        Args:
            position: Where the database says it stands; ignored without offsets.

        Raises:
            LeaseLostError: Another worker has taken over.
            ConfigError: The broker refuses us for good: wrong login, no such log.
        """

    async def committed(self, batch: RawBatch) -> None:
        """Let the broker forget the batch: its transaction is committed. In order of reading.

        Acknowledging over a connection that is gone has no effect: the broker sends the messages
        again, and the database knows them.
        """
