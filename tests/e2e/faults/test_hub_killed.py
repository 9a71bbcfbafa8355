"""Rows 1, 3 and 9 on a whole hub: it is killed, or its broker alone, or the log has no room.

All roles are its own processes here; the platform and the witness of the feed are outside. The
devices know nothing of it: they connect again and send what was not acknowledged.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from cityhub.folder import DataFolder
from cityhub.ports import free_port
from simulators.courier import Login
from tests.e2e.evidence import delivered_again
from tests.e2e.faults.office import SECRET, Office, beside
from tests.e2e.faults.site import PATIENCE_S, Broker, Site, open_mosquitto
from tests.e2e.faults.small_disk import fill, mounted
from tests.e2e.hub import Up, running, wait_until_gone
from tests.platform import open_platform
from tests.servers import Mosquitto, is_running, open_folder

KILLS: Final = ("ingest.inside_commit", "", "ingest.before_commit", "", "")
"""Where the worker dies after the whole hub was killed at a random point; where it says nothing,
only the hub is killed."""
_DIED: Final = "ingest ended (signal 9)"


class Hub:
    """A whole hub with the site around it.

    Args:
        up: It.
        site: Who sends, and the judge.
    """

    def __init__(self, up: Up, site: Site) -> None:
        self.up = up
        self.site = site

    def is_running(self) -> bool:
        """Return whether it is there."""
        return self.up.process is not None and self.up.process.poll() is None

    def last_words(self) -> str:
        """Return the end of what its worker logs."""
        return (self.up.folder / "logs" / "ingest.log").read_text("utf-8")[-2000:]

    async def kill_and_start(self) -> None:
        """Kill -9 all of it, see that nothing is left, and start it again."""
        family = self.up.family()
        assert await asyncio.to_thread(self.up.stop, signal.SIGKILL) == -signal.SIGKILL
        await asyncio.to_thread(wait_until_gone, family)
        await asyncio.to_thread(self.up.start)
        self.site.database = self.up.database_url

    async def die_at(self, failpoint: str) -> None:
        """Start it anew so that its worker dies at a point of a transaction; wait until it did."""
        before = len(self.up.said)
        self.up.environ["CITYHUB_FAILPOINT"] = failpoint
        await self.kill_and_start()
        del self.up.environ["CITYHUB_FAILPOINT"]
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not any(_DIED in line for line in self.up.said[before:]):
                    await asyncio.to_thread(self.up.hear)
        except TimeoutError:
            raise AssertionError(f"the worker never came to {failpoint}: {self.up.said}") from None

    async def came_again(self) -> None:
        """Wait until what the dead worker had got came to another one.

        A log's server is asked while it still runs: the kill of the whole hub ends the witness too.
        """
        again = 0
        async with asyncio.timeout(PATIENCE_S):
            while not again:
                if self.site.broker.has_log:
                    again = await asyncio.to_thread(delivered_again, self.up.facts["broker_url"])
                else:
                    again = await self.site.duplicates()
                await asyncio.sleep(0.1)


@asynccontextmanager
async def open_hub(
    folder: Path, node: pytest.Item, mosquitto: Mosquitto | None = None
) -> AsyncIterator[Hub]:
    """Start a hub with its own broker, or with mosquitto, and all that stands around it."""
    office = Office(folder)
    async with open_platform(office.answer) as platform:
        environ = {
            "CITYHUB_EMBEDDED_MQTT_PORT": str(free_port()),
            "CITYHUB_EMBEDDED_SYNC_INTERVAL": "100ms",
            "CITYHUB_DISPATCH_URL": platform.url,
            "CITYHUB_DISPATCH_SECRET": SECRET,
        }
        broker = None
        if mosquitto is not None:
            broker = open_mosquitto(mosquitto)
            environ["CITYHUB_BROKER_URL"] = broker.hub_url
        with running(Up(folder / "data", environ=environ)) as up:
            if broker is None:
                secret = DataFolder(up.folder).secret("simulator")
                login = Login("127.0.0.1", up.facts["mqtt_port"], "simulator", secret)
                broker = Broker(up.facts["broker_url"], login, has_log=True, server=None)
            async with Site(up.database_url, broker, folder, node) as site:
                site.settle()
                site.office = office
                hub = Hub(up, site)
                # The session must be there before anybody publishes: mosquitto keeps nothing for
                # nobody.
                async with asyncio.timeout(PATIENCE_S):
                    while not await site.ask("SELECT 1 FROM hub.source_offset"):
                        await asyncio.sleep(0.1)
                await asyncio.sleep(1)
                async with beside(office.follow(up.facts["api_url"])):
                    yield hub


@pytest.fixture
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    """A hub with the broker that the parameter names."""
    named = getattr(request, "param", "embedded")
    mosquitto = request.getfixturevalue("mosquitto") if named == "mosquitto" else None
    with open_folder() as folder:
        async with open_hub(folder, request.node, mosquitto) as hub:
            yield hub


@pytest.mark.tier_p
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "hub", ["embedded", pytest.param("mosquitto", marks=pytest.mark.tier_n)], indirect=True
)
async def test_01_the_whole_hub_killed_at_random_points(hub: Hub) -> None:
    rng, site = random.Random(2), hub.site
    async with site.loaded(500):
        for failpoint in KILLS:
            await asyncio.sleep(rng.uniform(0.5, 1.5))
            if failpoint:
                await hub.die_at(f"{failpoint}:kill@1")
                await hub.came_again()
            else:
                await hub.kill_and_start()
    await site.settled(hub)
    await site.judge()
    assert hub.up.stop() == 0


@pytest.mark.tier_p
async def test_03_the_embedded_broker_killed_with_a_backlog(hub: Hub) -> None:
    site, up = hub.site, hub.up
    worker, server = up.child("ingest"), up.child("nats.conf")
    os.kill(worker, signal.SIGSTOP)
    try:
        async with site.loaded(2_500) as sending:
            await asyncio.sleep(3)
            assert len(site.run().acked) > 1_000
            assert not sending.done()
            os.kill(server, signal.SIGKILL)
            async with asyncio.timeout(5):
                while is_running(server):
                    await asyncio.sleep(0.01)
            os.kill(worker, signal.SIGCONT)
            await asyncio.sleep(1)
    finally:
        os.kill(worker, signal.SIGCONT)
    await site.settled(hub)
    await site.judge()
    assert up.stop() == 0


@pytest.fixture
async def small_hub(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Hub, Path]]:
    """A hub whose log lies on a disk of a few megabytes, and that disk."""
    with open_folder() as folder:
        with DataFolder(folder / "data") as data:
            disk = data.server("nats")
        with mounted("40m", disk):
            async with open_hub(folder, request.node) as hub:
                yield hub, disk


@pytest.mark.tier_n
async def test_09_the_disk_of_the_log_is_full(small_hub: tuple[Hub, Path]) -> None:
    """What finds no room is not acknowledged; with room again all goes on, by itself."""
    (hub, disk), told = small_hub, list[str]()
    site, filler = hub.site, disk / "filler"
    async with site.loaded(500):
        await asyncio.sleep(3)
        fill(filler)
        async with asyncio.timeout(30):
            while not told or "full" not in told[-1]:
                told.append(await asyncio.to_thread(hub.up.hear))
        acked = len(site.run().acked)
        await asyncio.sleep(3)
        assert len(site.run().acked) == acked, "acknowledged without room"
        filler.unlink()
        async with asyncio.timeout(PATIENCE_S):
            while len(site.run().acked) < acked + 500:
                await asyncio.sleep(0.5)
    await site.settled(hub)
    await site.judge()
    assert hub.up.stop() == 0
