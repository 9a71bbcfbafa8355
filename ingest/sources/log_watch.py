"""Watches the log of a NATS from beside the worker: how far behind it is, and whether it is whole.

A log without its durable source looks well from within: it simply gets nothing. So its set-up is
looked at for as long as the role runs, over a connection of its own that never delays the reader.

A log with a limit is trimmed here, too: of what is committed only, the oldest first, so that a
limit is reached only by what nobody has stored yet.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final, NoReturn, Protocol

from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from core.metrics import LAG, LOG_BYTES, LOG_LIMIT_BYTES, LOG_WHOLE
from ingest.nats_wire import STREAM
from ingest.sources.log import connect, find_problem, trim

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0
_AGAIN_S: Final = 0.5
_TIMEOUT_S: Final = 5.0


class Reader(Protocol):
    """Who reads the log, and how far it is committed."""

    name: str
    position: int


async def watch_log(
    url: str, reader: Reader, *, ca_file: Path | None = None, every: float = EVERY_S
) -> NoReturn:
    """Measure the log for ever.

    Args:
        url: ``nats://user:password@host:port``; several separated by commas.
        reader: Whose place is compared.
        ca_file: CA certificate for TLS; None: the system's.
        every: Seconds between two looks.
    """
    said: str | None = None
    while True:
        try:
            client = await connect(url, ca_file=ca_file)
            try:
                js = client.jetstream(timeout=_TIMEOUT_S)
                while True:
                    problem = await _measure(js, reader)
                    if problem != said and problem:
                        log.error(
                            "the log is not whole", extra={"source": reader.name, "reason": problem}
                        )
                    said = problem
                    trimmed = not problem and await trim(js, reader.position)
                    await asyncio.sleep(min(every, _AGAIN_S) if trimmed else every)
            finally:
                await client.close()
        except (NatsError, OSError) as error:  # the reader itself says that the log is away
            LOG_WHOLE.labels(reader.name).set(0)
            log.debug("cannot look at the log", extra={"reason": str(error)})
        await asyncio.sleep(every)


async def _measure(js: JetStreamContext, reader: Reader) -> str | None:
    problem = await find_problem(js)
    LOG_WHOLE.labels(reader.name).set(0 if problem else 1)
    info = await js.stream_info(STREAM)
    LAG.labels(reader.name).set(max(0, info.state.last_seq - reader.position))
    LOG_BYTES.labels(reader.name).set(info.state.bytes)
    LOG_LIMIT_BYTES.labels(reader.name).set(max(0, info.config.max_bytes or 0))
    return problem
