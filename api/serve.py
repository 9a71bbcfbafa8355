"""Run the application on a port, within bounds: slow senders and slow readers are cut off.

A client gets ten seconds to send the head of its request, and ten to take what waits for it; no
signal handler is installed and nothing is printed, since this runs beside other roles.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.actions import Actions
from api.app import create_app
from api.auth import check_binding
from api.bench import Bench
from api.callbacks import Callbacks
from core.clock import Clock
from core.db import Pool
from core.errors import StartError
from core.settings import Api, Settings

log = logging.getLogger(__name__)

HEAD_S: Final = 10.0
WRITE_S: Final = 10.0
KEEP_ALIVE_S: Final = 30
STOP_S: Final = 3
MOST_CONNECTIONS: Final = 2_000
_HEAD_BYTES: Final = 32_768
_BACKLOG: Final = 512


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that cuts who is too slow."""

    write_s = WRITE_S
    head_s = HEAD_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Begin to wait for the first request's head."""
        super().connection_made(transport)
        self._writing: asyncio.TimerHandle | None = None
        self._head: asyncio.TimerHandle | None = None
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that has begun must end in time."""
        super().data_received(data)
        state = self.conn.their_state
        if state is not h11.IDLE:
            self._stop_head()
        elif self._head is None and self.conn.trailing_data[0]:
            self._await_head()

    def pause_writing(self) -> None:
        """Give the reader its time: the buffer is full."""
        super().pause_writing()
        self._stop_writing()
        self._writing = self.loop.call_later(self.write_s, self._cut, "slow_reader")

    def resume_writing(self) -> None:
        """The reader has caught up."""
        super().resume_writing()
        self._stop_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_writing()
        self._stop_head()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self.head_s, self._cut, "slow_head")

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _cut(self, why: str) -> None:
        """Abort: a close would wait for the very buffer that nobody reads."""
        log.info("client cut off", extra={"reason": why, "client": str(self.client)})
        self.transport.abort()


class _Server(uvicorn.Server):
    """A server beside other roles: signals are not its business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to whoever runs the process."""
        yield


def open_socket(api: Api) -> socket.socket:
    """Return a listening socket.

    Raises:
        StartError: The port is taken, or the address is not this machine's.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            api.host, api.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise StartError(
            f"cannot listen on {api.host} port {api.port} ({error.strerror}): stop what uses it, or"
            " set api.host and api.port"
        ) from error
    return listener


def page_url(listener: socket.socket) -> str:
    """Return the address of the page on a listening socket."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}/"


async def run_serve(
    *,
    pool: Pool,
    url: str,
    settings: Settings,
    clock: Clock,
    actions: Actions,
    bench: Bench | None = None,
    callbacks: Callbacks | None = None,
    listener: socket.socket | None = None,
    protocol: type[BoundedProtocol] = BoundedProtocol,
) -> None:
    """Serve until cancelled.

    Args:
        pool: Where tables are read.
        url: The database's URL, for notifications.
        settings: The hub's settings.
        clock: What time it is.
        actions: What staff can do.
        bench: What staff can do to payloads in quarantine; None: nothing.
        callbacks: Where receivers are heard; None: nowhere.
        listener: A socket from :func:`open_socket`, whose port the caller knows; else one is made.
        protocol: The bounds of a connection.

    Raises:
        ConfigError: It would be reachable from other machines without a login.
        StartError: The port is taken.
    """
    check_binding(settings)
    app = create_app(
        pool=pool,
        url=url,
        settings=settings,
        clock=clock,
        actions=actions,
        bench=bench,
        callbacks=callbacks,
    )
    listener = listener or open_socket(settings.api)
    server = _Server(_config(app, protocol))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        app.state.feed.close()
        server.should_exit = True
        await serving
        raise
    finally:
        listener.close()


def _config(app: Any, protocol: type[BoundedProtocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a forwarded address is whatever the sender says
        limit_concurrency=MOST_CONNECTIONS,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
