"""The way to the database: connections, the pool, LISTEN, and its errors in our own words."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from core.errors import StoreRejectedError, StoreUnavailableError

log = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]

_RECONNECT_S: Final = 0.5


@contextmanager
def translated() -> Iterator[None]:
    """Say the driver's errors in our own words, by SQLSTATE, with the cause kept.

    Raises:
        StoreRejectedError: These data, or this statement, will never be taken.
        StoreUnavailableError: Anything else: try again.
    """
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise StoreRejectedError(str(error)) from error
    except (psycopg.OperationalError, psycopg.InternalError, psycopg.InterfaceError) as error:
        raise StoreUnavailableError(str(error)) from error
    except PoolTimeout as error:
        raise StoreUnavailableError("no free connection to the database") from error


@asynccontextmanager
async def open_pool(url: str, size: int, *, name: str) -> AsyncIterator[Pool]:
    """Lend a pool of connections; ``name`` is what the server's activity list shows.

    Connections are in autocommit: a transaction is one where ``conn.transaction()`` says so.
    """
    pool: Pool = AsyncConnectionPool(
        url,
        min_size=1,
        max_size=size,
        timeout=10,
        open=False,
        kwargs={"autocommit": True, "application_name": f"cityhub {name}"},
    )
    try:
        await pool.open()
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection in a transaction; its errors come as :func:`translated` says."""
    with translated():
        async with pool.connection() as conn, conn.transaction():
            yield conn


def _heed_cancellation() -> None:
    """End a task that was cancelled the moment a notice came: ``wait_for`` loses the first."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def listen(url: str, *channels: str, every: float = 1.0) -> AsyncIterator[str | None]:
    """Yield at once, then after each notification, and at least every so many seconds.

    A notification is only a nudge: whoever waits must look at the tables in any case, so an outage
    of the database only means the nudge of ``every``. Never ends.

    Yields:
        The channel that was notified, or None.
    """
    yield None
    away = False
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                url, autocommit=True, application_name="cityhub listen"
            ) as conn:
                for channel in channels:
                    await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                away = False
                yield None
                while True:
                    told = None
                    async for notice in conn.notifies(timeout=every, stop_after=1):
                        told = notice.channel
                    _heed_cancellation()
                    yield told
        except psycopg.OperationalError as error:
            if not away:  # once an outage
                reason = " ".join(str(error).split())
                log.warning(
                    "no notifications until the database answers again", extra={"reason": reason}
                )
            away = True
            yield None
            await asyncio.sleep(_RECONNECT_S)
