"""The role that delivers: a dispatcher for each receiver, which follows the receivers' rows."""

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from random import Random, SystemRandom
from typing import Final, NoReturn

from alerts.callbacks import CallbackDesk
from alerts.connectors import webhook
from alerts.connectors.null import Null
from alerts.connectors.open311 import Open311
from alerts.dispatch import Dispatcher
from alerts.outbox import LEASE_S, NULL, Deliverer
from alerts.polling import poll
from alerts.receivers import Receiver, Secrets, open_connector, read_receivers
from core import settings as settings_of
from core.clock import Clock
from core.db import Pool, listen, transaction
from core.errors import ConfigError, StoreUnavailableError

log = logging.getLogger(__name__)

POLL_S: Final = 300.0
"""How often a receiver that cannot call back is asked after its requests, in seconds; ours."""


@dataclass(slots=True)
class _Way:
    """One way out while it is open."""

    dispatcher: Dispatcher
    connector: Deliverer
    stack: AsyncExitStack
    receiver: Receiver | None = None
    polled_at: datetime | None = None
    polling: asyncio.Task[int] | None = field(default=None)


class Ways:
    """All ways out: the platform of the settings, the null connector, and the receivers.

    Args:
        pool: The database.
        settings: The platform, timeouts, networks, and when to give up.
        secrets: Where the receivers' secrets come from.
        clock: The hub's time.
        rng: Where the jitter comes from.
        desk: Who takes what receivers say that are asked.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        settings: settings_of.Dispatch,
        secrets: Secrets,
        clock: Clock,
        rng: Random,
        desk: CallbackDesk | None = None,
    ) -> None:
        if settings.timeout_s >= LEASE_S:
            raise ConfigError(f"dispatch.timeout_s must be below {LEASE_S:.0f} seconds")
        self._pool = pool
        self._settings = settings
        self._secrets = secrets
        self._clock = clock
        self._rng = rng
        self._desk = desk or CallbackDesk(pool, clock, secrets=secrets)
        self._networks = [ip_network(each) for each in settings.networks]
        self._ways: dict[str, _Way] = {}
        self._refused: dict[str, datetime] = {}

    async def open(self) -> None:
        """Open what needs no row."""
        self._ways[NULL] = self._way(NULL, Null(), AsyncExitStack())
        if self._settings.url is None:
            return
        stack = AsyncExitStack()
        secret = self._settings.secret.get_secret_value() if self._settings.secret else None
        connector = await stack.enter_async_context(
            webhook.open_webhook(
                self._settings.url,
                secret=secret,
                timeout_s=self._settings.timeout_s,
                clock=self._clock,
            )
        )
        self._ways[webhook.NAME] = self._way(webhook.NAME, connector, stack)

    async def fill(self) -> None:
        """Heed the receivers as they are now, and put what is due on its way.

        Raises:
            StoreUnavailableError: The database cannot be reached.
        """
        await self._heed()
        for way in self._ways.values():
            await way.dispatcher.fill()
            self._poll(way)

    async def step(self) -> int:
        """Try what is due, once, everywhere; wait for it, and ask those whose time it is.

        Returns:
            How many messages were tried.
        """
        await self._heed()
        tried = 0
        for way in self._ways.values():
            tried += await way.dispatcher.step()
            self._poll(way)
            if way.polling is not None:
                await way.polling
        return tried

    async def close(self) -> None:
        """Break off what is on its way, and close every way."""
        for name in list(self._ways):
            await self._close(name)

    async def _heed(self) -> None:
        async with transaction(self._pool) as conn:
            receivers = {each.name: each for each in await read_receivers(conn)}
        for name, way in list(self._ways.items()):
            if way.receiver is not None and way.receiver != receivers.get(name):
                await self._close(name)
        for name, receiver in receivers.items():
            if not receiver.disabled and name not in self._ways:
                await self._open(receiver)

    async def _open(self, receiver: Receiver) -> None:
        stack = AsyncExitStack()
        try:
            connector = await stack.enter_async_context(
                open_connector(
                    receiver,
                    secrets=self._secrets,
                    networks=self._networks,
                    timeout_s=self._settings.timeout_s,
                    clock=self._clock,
                )
            )
        except ConfigError as error:
            # its messages wait; the others go on. Said once for each version of the row
            if self._refused.get(receiver.name) != receiver.changed_at:
                log.error(  # noqa: TRY400 - the sentence says it all
                    "a receiver cannot be opened",
                    extra={"receiver": receiver.name, "reason": str(error)},
                )
            self._refused[receiver.name] = receiver.changed_at
            return
        way = self._way(receiver.name, connector, stack, per_minute=receiver.per_minute)
        way.receiver = receiver
        self._ways[receiver.name] = way

    def _way(
        self,
        name: str,
        connector: Deliverer,
        stack: AsyncExitStack,
        *,
        per_minute: float | None = None,
    ) -> _Way:
        dispatcher = Dispatcher(
            self._pool,
            connector,
            name=name,
            clock=self._clock,
            give_up=timedelta(hours=self._settings.give_up_h),
            rng=self._rng,
            per_minute=per_minute,
        )
        return _Way(dispatcher, connector, stack)

    def _poll(self, way: _Way) -> None:
        """Ask a receiver that cannot call back, one round at a time."""
        if way.polling is not None and way.polling.done():
            way.polling.result()
            way.polling = None
        if way.receiver is None or not isinstance(way.connector, Open311) or way.polling:
            return
        now = self._clock.now()
        every = timedelta(seconds=float(way.receiver.options.get("poll_s", POLL_S)))
        if way.polled_at is None or now - way.polled_at >= every:
            way.polled_at = now
            name = way.receiver.name
            way.polling = asyncio.create_task(poll(self._pool, way.connector, name, self._desk))

    async def _close(self, name: str) -> None:
        way = self._ways.pop(name)
        if way.polling is not None:
            way.polling.cancel()
            await asyncio.gather(way.polling, return_exceptions=True)
        await way.dispatcher.close()
        await way.stack.aclose()


async def run_dispatch(
    *,
    pool: Pool,
    url: str,
    settings: settings_of.Dispatch,
    clock: Clock,
    secrets: Secrets | None = None,
    rng: Random | None = None,
    desk: CallbackDesk | None = None,
) -> NoReturn:
    """Deliver for ever: at each event of the hub, and every second.

    Args:
        pool: The database.
        url: The same, for notifications.
        settings: Where to, with which key, and when to give up.
        clock: The hub's time.
        secrets: Where the receivers' secrets come from; unset: there are none.
        rng: Where the jitter comes from; unset: the system.
        desk: Who takes what receivers say that are asked; unset: one of the hub's usual office.

    Raises:
        ConfigError: The timeout is longer than a lease.
    """
    ways = Ways(
        pool,
        settings=settings,
        secrets=secrets or Secrets(None, Path("secrets")),
        clock=clock,
        rng=rng or SystemRandom(),
        desk=desk,
    )
    await ways.open()
    try:
        async for _ in listen(url, "hub_event"):
            try:
                await ways.fill()
            except StoreUnavailableError as error:
                log.warning("dispatch waits for the database", extra={"reason": str(error)})
    finally:
        await ways.close()
    raise AssertionError("notifications never end")
