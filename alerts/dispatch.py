"""Delivery (派遣): takes what is due from the outbox to the city's platform.

At least once on the wire, and once in effect, since an attempt that died between sending and noting
is repeated under the same key. A receiver that hangs over one order holds up no other: each of a
few deliveries goes on to the next order by itself. While the platform fails throughout, only one
message at a time probes it.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from random import Random
from typing import Final

from alerts.outbox import LEASE_S, Deliverer, Message, bury, lease, mark_delivered, pause, put_off
from core.clock import Clock
from core.db import Pool
from core.errors import (
    DispatchFailedError,
    DispatchRefusedError,
    StoreUnavailableError,
)
from core.failpoint import passing
from core.metrics import OUTBOX

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""The most deliveries on their way; never two of one case."""

TRIP: Final = 5
"""After so many failures in a row the platform counts as down, and is only probed."""


class Allowance:
    """How much a receiver takes (限速): a bucket that holds a minute's worth and fills steadily.

    >>> bucket = Allowance(2)
    >>> noon = datetime(2026, 1, 1, 12)
    >>> bucket.left(noon), bucket.spend(2), bucket.left(noon + timedelta(seconds=30))
    (2, None, 1)
    """

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._most = max(1.0, per_minute)
        self._tokens = self._most
        self._at: datetime | None = None

    def left(self, now: datetime) -> int:
        """Return how many may go now."""
        if self._at is not None:
            gained = (now - self._at).total_seconds() / 60 * self._per_minute
            self._tokens = min(self._most, self._tokens + max(0.0, gained))
        self._at = now
        return int(self._tokens)

    def spend(self, count: int) -> None:
        """Count so many as gone."""
        self._tokens -= count


class Dispatcher:
    """Moves the messages of one connector.

    Args:
        pool: The database.
        connector: The way out.
        name: Its name in the outbox.
        clock: The hub's time.
        give_up: How long an order is tried before it goes to the dead letters.
        rng: Where the jitter comes from.
        per_minute: Deliveries in a minute at most; None: as many as there are.
    """

    def __init__(
        self,
        pool: Pool,
        connector: Deliverer,
        *,
        name: str,
        clock: Clock,
        give_up: timedelta,
        rng: Random,
        per_minute: float | None = None,
    ) -> None:
        self._allowance = None if per_minute is None else Allowance(per_minute)
        self._pool = pool
        self._connector = connector
        self._name = name
        self._clock = clock
        self._give_up = give_up
        self._rng = rng
        self._failures = 0
        self._closed_until: datetime | None = None
        self._flying: set[asyncio.Task[None]] = set()
        self._tried = 0

    async def step(self) -> int:
        """Try what is due, once, and wait for it.

        Returns:
            How many messages were tried.

        Raises:
            StoreUnavailableError: The database cannot be reached.
        """
        before = self._tried
        await self.fill()
        while self._flying:
            await asyncio.wait(self._flying)
            self._land()
        return self._tried - before

    async def fill(self) -> None:
        """Put what is due on its way, as far as there is room; wait for none of it.

        Raises:
            StoreUnavailableError: The database cannot be reached.
        """
        self._land()
        for message in await self._lease(self._most() - len(self._flying)):
            self._flying.add(asyncio.create_task(self._keep_on(message)))

    async def close(self) -> None:
        """Break off what is on its way; its leases run out, and it goes again."""
        for task in self._flying:
            task.cancel()
        await asyncio.gather(*self._flying, return_exceptions=True)
        self._flying.clear()

    def _most(self) -> int:
        return 1 if self._failures >= TRIP else AT_ONCE

    def _land(self) -> None:
        """Let go of the deliveries that ended; a defect in one ends the role."""
        ended = {task for task in self._flying if task.done()}
        self._flying -= ended
        for task in ended:
            task.result()

    async def _lease(self, limit: int) -> list[Message]:
        now = self._clock.now()
        if limit <= 0 or (self._closed_until is not None and now < self._closed_until):
            return []
        if self._allowance is not None:
            limit = min(limit, self._allowance.left(now))
            if limit == 0:
                return []
        messages = await lease(self._pool, self._name, now, limit)
        if self._allowance is not None:
            self._allowance.spend(len(messages))
        self._tried += len(messages)
        return messages

    async def _keep_on(self, message: Message) -> None:
        """Try a message, then the next that is due: one that hangs delays only its own case."""
        messages = [message]
        while messages:
            await self._try(messages[0])
            over = len(self._flying) > self._most()
            try:
                messages = [] if over else await self._lease(1)
            except StoreUnavailableError as error:
                log.warning("dispatch waits for the database", extra={"reason": str(error)})
                return

    async def _try(self, message: Message) -> None:
        try:
            await self._deliver(message)
        except StoreUnavailableError as error:
            # not noted: the lease runs out, and the message goes again under the same key
            log.warning(
                "a delivery could not be noted",
                extra={"key": message.key, "reason": str(error), "retry_in_s": LEASE_S},
            )

    async def _deliver(self, message: Message) -> None:
        passing("dispatch.before_send")
        try:
            external_id = await self._connector.deliver(message)
        except DispatchRefusedError as error:
            self._heard()
            await self._bury(message, str(error))
        except DispatchFailedError as error:
            await self._failed(message, error)
        else:
            self._heard()
            passing("dispatch.after_send")
            await mark_delivered(self._pool, message, self._name, external_id, self._clock.now())
            OUTBOX.labels("delivered").inc()
            log.info("delivered", extra={"key": message.key, "external_id": external_id})

    async def _failed(self, message: Message, error: DispatchFailedError) -> None:
        now = self._clock.now()
        wait_s = max(pause(message.attempts, self._rng), error.retry_after_s or 0.0)
        self._failures += 1
        if self._failures >= TRIP:
            probe_s = pause(self._failures - TRIP + 1, self._rng)
            self._closed_until = now + timedelta(seconds=probe_s)
        if now - message.first_tried_at >= self._give_up:
            await self._bury(message, str(error))
            return
        await put_off(self._pool, message, str(error), now + timedelta(seconds=wait_s))
        OUTBOX.labels("put_off").inc()
        log.warning(
            "not delivered",
            extra={"key": message.key, "reason": str(error), "retry_in_s": round(wait_s, 1)},
        )

    async def _bury(self, message: Message, error: str) -> None:
        await bury(self._pool, message, self._name, error, self._clock.now())
        OUTBOX.labels("dead").inc()
        log.error("given up: a person must look", extra={"key": message.key, "reason": error})

    def _heard(self) -> None:
        """The platform answers: it is not down."""
        self._failures = 0
        self._closed_until = None
