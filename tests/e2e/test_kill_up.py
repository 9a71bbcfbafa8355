"""Kill everything at once: the whole ``up``, or its broker with a backlog, in the midst of a flood.

As in ``test_kill_ingest`` the judge is the publisher's own log of PUBACKs against SQL. The devices
know nothing of it: they connect again and send what was not acknowledged.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cityhub.folder import DataFolder
from cityhub.ports import free_port
from tests.e2e.hub import Up, running, wait_until_gone
from tests.e2e.test_kill_ingest import check, prepare, readings
from tests.intake import query
from tests.load import Loader
from tests.servers import Mosquitto, is_running, open_folder

ROUND = 10_000
KILLS = ("ingest.inside_commit", "", "ingest.before_commit", "", "")
"""Where the worker dies first, and then, or at once where it says nothing, the whole hub."""
RATE = 2_500
SEED = 2
_PATIENCE_S = 90.0
_STORED = "SELECT count(*) FROM hub.reading_manhole_cover"


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path / "data"


async def _settled(up: Up, number: int) -> None:
    """Wait until so many readings are stored."""
    until = time.monotonic() + _PATIENCE_S
    while (stored := (await asyncio.to_thread(query, up.database_url, _STORED))[0][0]) < number:
        log = (up.folder / "logs" / "ingest.log").read_text("utf-8")[-2000:]
        assert time.monotonic() < until, f"{stored} of {number} stored: {log}"
        await asyncio.sleep(0.2)


async def _kill_and_start(up: Up) -> None:
    """Kill -9 the whole hub, see that nothing of it is left, and start it again."""
    family = up.family()
    assert up.stop(signal.SIGKILL) == -signal.SIGKILL
    await asyncio.to_thread(wait_until_gone, family)
    await asyncio.to_thread(up.start)


async def _die_in_commit(up: Up, failpoint: str) -> None:
    """Start the hub anew so that its worker dies at a point of a transaction; wait until it did."""
    before = len(up.said)
    up.environ["CITYHUB_FAILPOINT"] = failpoint
    await _kill_and_start(up)
    del up.environ["CITYHUB_FAILPOINT"]
    try:
        async with asyncio.timeout(30):
            while not any("ingest ended (signal 9)" in line for line in up.said[before:]):
                await asyncio.to_thread(up.hear)
    except TimeoutError:
        words = (up.folder / "logs" / "ingest.log").read_text("utf-8")[-2000:]
        raise AssertionError(f"the worker never came to {failpoint}: {up.said}\n{words}") from None


@pytest.mark.tier_p
@pytest.mark.timeout(300)
@pytest.mark.parametrize("broker", ["embedded", "mosquitto"])
async def test_kill_9_of_the_whole_hub_at_random_points_loses_nothing(
    request: pytest.FixtureRequest, broker: str, folder: Path, tmp_path: Path
) -> None:
    rng = random.Random(SEED)
    environ = {
        "CITYHUB_EMBEDDED_MQTT_PORT": str(free_port()),
        "CITYHUB_EMBEDDED_SYNC_INTERVAL": "100ms",
    }
    if broker == "mosquitto":
        mosquitto: Mosquitto = request.getfixturevalue("mosquitto")
        mosquitto.stop()
        mosquitto.prepare([("loader", "loader")])
        with (mosquitto.config.parent / "acl").open("a") as acl:
            acl.write("\nuser loader\ntopic write hub/#\n")
        mosquitto.start()
        environ["CITYHUB_BROKER_URL"] = mosquitto.url
    number = ROUND * len(KILLS)
    with running(Up(folder, environ=environ)) as up:
        flood = readings(number, prepare(up.database_url))
        loader = await _loader(up, broker, request, tmp_path / "pubacks")
        for turn, failpoint in enumerate(KILLS, start=1):
            sending = asyncio.create_task(loader.send(flood[: turn * ROUND], rate=RATE))
            await asyncio.sleep(rng.uniform(1.0, 2.0))
            assert not sending.done(), "the kill came too late to hurt"
            if failpoint:
                await _die_in_commit(up, f"{failpoint}:kill@{rng.randint(1, 2)}")
            else:
                await _kill_and_start(up)
            await sending
        await _settled(up, number)
        check(up.database_url, loader, number)
        assert up.stop() == 0


async def _loader(up: Up, broker: str, request: pytest.FixtureRequest, log: Path) -> Loader:
    if broker == "mosquitto":
        # The session must be there before anybody publishes: mosquitto keeps nothing for nobody.
        async with asyncio.timeout(30):
            while not query(up.database_url, "SELECT 1 FROM hub.source_offset"):
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        mosquitto: Mosquitto = request.getfixturevalue("mosquitto")
        return Loader(mosquitto.port, "loader", "loader", log=log)
    return Loader(
        up.facts["mqtt_port"], "simulator", DataFolder(up.folder).secret("simulator"), log=log
    )


@pytest.mark.tier_p
@pytest.mark.timeout(300)
async def test_3_the_broker_killed_with_a_backlog_loses_nothing(
    folder: Path, tmp_path: Path
) -> None:
    number = 15_000
    environ = {
        "CITYHUB_EMBEDDED_MQTT_PORT": str(free_port()),
        "CITYHUB_EMBEDDED_SYNC_INTERVAL": "100ms",
    }
    with running(Up(folder, environ=environ)) as up:
        base = prepare(up.database_url)
        loader = Loader(
            up.facts["mqtt_port"],
            "simulator",
            DataFolder(folder).secret("simulator"),
            log=tmp_path / "pubacks",
        )
        worker, server = up.child("ingest"), up.child("nats.conf")
        os.kill(worker, signal.SIGSTOP)
        sending = asyncio.create_task(loader.send(readings(number, base), rate=2_500))
        await asyncio.sleep(3)
        backlog = len(loader.acknowledged())
        assert not sending.done()
        os.kill(server, signal.SIGKILL)
        async with asyncio.timeout(5):
            while is_running(server):
                await asyncio.sleep(0.01)
        os.kill(worker, signal.SIGCONT)
        await sending
        await _settled(up, number)
        check(up.database_url, loader, number)
        assert backlog > 1_000
        assert up.stop() == 0
