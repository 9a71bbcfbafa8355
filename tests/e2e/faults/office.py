"""What stands behind ingest while a test breaks things: alarms, work orders, and a reader of both.

The engine, the dispatch and the API run in the test's own loop, on the same database; the platform
is the simulator's stand-in, with its journal on disk; a witness follows the feed, hangs up and
resumes. So every row of the catalogue also shows that each alarm that had to come came once, went
out once, and was seen once.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from alerts.dispatch_role import run_dispatch
from alerts.engine import run_engine, step
from core.clock import SystemClock
from core.db import open_pool
from core.settings import load_settings
from simulators.feed_witness import FeedWitness
from simulators.platform import Journal, Platform
from tests.intake import query
from tests.platform import Received, http, open_platform
from tests.serving import serving

SECRET: Final = "shared with the platform"
_ISSUED: Final = """
SELECT count(*) FROM hub.outbox WHERE message_type LIKE '%%issued%%' AND state = 'delivered'
"""
_RAISED: Final = """
SELECT device_id, rule_id, a.audience FROM hub.alarm a JOIN hub.device USING (device_no)
 ORDER BY 1, 2
"""
_NEWEST: Final = "SELECT coalesce(max(event_id), 0) FROM hub.event_log"


class Office:
    """The stand-in platform and the witness of the feed, with what they wrote down.

    Args:
        folder: For their files.
    """

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "platform.jsonl"
        self.feed = folder / "feed"
        self.api_url = ""
        self._platform = Platform(SECRET, Journal(self.journal), clock=SystemClock())

    def answer(self, order: Received) -> bytes:
        """Answer a delivery as the stand-in does."""
        status, body = self._platform.receive(order.headers, order.body)
        return http(f"{status} -", json.dumps(body))

    async def follow(self, api_url: str) -> None:
        """Follow the feed of an API from its first entry, until cancelled."""
        await FeedWitness(api_url, self.feed, after=0).follow()

    async def settled(self, database: str, orders: int, seconds: float = 30) -> None:
        """Wait until so many orders are out and the witness has seen the newest entry.

        It gives up without a word: the oracle says then what is missing.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not await asyncio.to_thread(self._is_settled, database, orders):
                    await asyncio.sleep(0.1)

    def _is_settled(self, database: str, orders: int) -> bool:
        ((issued,),) = query(database, _ISSUED)
        ((newest,),) = query(database, _NEWEST)
        seen = self.feed.read_text("ascii").split()
        return issued >= orders and (not newest or (bool(seen) and int(seen[-1]) >= newest))


@asynccontextmanager
async def open_office(database: str, folder: Path) -> AsyncIterator[Office]:
    """Run engine, dispatch and API on a database, with the platform and the witness."""
    office, clock = Office(folder), SystemClock()
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_platform(office.answer))
        pool = await stack.enter_async_context(open_pool(database, 4, name="office"))
        settings = load_settings(environ={}, dispatch={"url": platform.url, "secret": SECRET})
        page = await stack.enter_async_context(serving(pool, database, clock=clock))
        engine = run_engine(pool=pool, url=database, clock=clock, connector="webhook")
        sending = run_dispatch(pool=pool, url=database, settings=settings.dispatch, clock=clock)
        office.api_url = str(page.base_url)
        for work in (engine, sending, office.follow(office.api_url)):
            await stack.enter_async_context(beside(work))
        yield office


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something beside the test; what fails there fails the test."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def raise_alarms(database: str) -> list[tuple[str, str, str]]:
    """Let the engine read all findings; return device, rule and audience of each alarm."""
    async with open_pool(database, 2, name="test") as pool:
        while await step(pool, SystemClock(), None):
            pass
    return [
        (device, rule, audience)
        for device, rule, audience in await asyncio.to_thread(query, database, _RAISED)
    ]
