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
from typing import Final

import pytest

from cityhub.folder import DataFolder
from cityhub.ports import free_port
from tests.e2e.evidence import delivered_again
from tests.e2e.hub import Up, running, wait_until_gone
from tests.e2e.test_kill_ingest import RATE, ROUND, check, kill_at, prepare, readings
from tests.intake import ledger, query
from tests.load import Loader
from tests.servers import Mosquitto, is_running, open_folder

KILLS: Final = ("ingest.inside_commit", "", "ingest.before_commit", "", "")
"""Where the worker dies after the whole hub was killed at a random point; where it says nothing,
only the hub is killed."""
NUMBER: Final = ROUND * len(KILLS)
SEED: Final = 2
_PATIENCE_S: Final = 120.0
_STORED: Final = "SELECT count(*) FROM hub.reading_manhole_cover"
_DIED: Final = "ingest ended (signal 9)"


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


async def _die_at(up: Up, failpoint: str) -> None:
    """Start the hub anew so that its worker dies at a point of a transaction; wait until it did."""
    before = len(up.said)
    up.environ["CITYHUB_FAILPOINT"] = failpoint
    await _kill_and_start(up)
    del up.environ["CITYHUB_FAILPOINT"]
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while not any(_DIED in line for line in up.said[before:]):
                await asyncio.to_thread(up.hear)
    except TimeoutError:
        words = (up.folder / "logs" / "ingest.log").read_text("utf-8")[-2000:]
        raise AssertionError(f"the worker never came to {failpoint}: {up.said}\n{words}") from None


async def _seen_again(up: Up, broker: str) -> None:
    """Wait until what the dead worker had got came to another one.

    A log's server is asked while it still runs: the kill of the whole hub ends the witness too.
    """
    again = 0
    async with asyncio.timeout(_PATIENCE_S):
        while not again:
            if broker == "embedded":
                again = await asyncio.to_thread(delivered_again, up.facts["broker_url"])
            else:
                again = (await asyncio.to_thread(ledger, up.database_url))[2]
            await asyncio.sleep(0.1)


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
    with running(Up(folder, environ=environ)) as up:
        flood = readings(NUMBER, prepare(up.database_url))
        loader = await _loader(up, broker, request, tmp_path / "pubacks")
        for turn, failpoint in enumerate(KILLS):
            sending = asyncio.create_task(loader.send(flood[: (turn + 1) * ROUND], rate=RATE))
            async with asyncio.timeout(_PATIENCE_S):
                await loader.reached(kill_at(turn, rng))
            assert not sending.done(), "the kill came too late to hurt"
            if failpoint:
                await _die_at(up, f"{failpoint}:kill@1")
                await _seen_again(up, broker)
            else:
                await _kill_and_start(up)
            async with asyncio.timeout(_PATIENCE_S):
                await sending
        await _settled(up, NUMBER)
        check(up.database_url, loader, NUMBER)
        assert up.stop() == 0


async def _loader(up: Up, broker: str, request: pytest.FixtureRequest, log: Path) -> Loader:
    if broker == "mosquitto":
        # The session must be there before anybody publishes: mosquitto keeps nothing for nobody.
        async with asyncio.timeout(_PATIENCE_S):
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
        sending = asyncio.create_task(loader.send(readings(number, base), rate=RATE))
        async with asyncio.timeout(_PATIENCE_S):
            await loader.reached(number // 2)
        assert not sending.done()
        os.kill(server, signal.SIGKILL)
        async with asyncio.timeout(5):
            while is_running(server):
                await asyncio.sleep(0.01)
        os.kill(worker, signal.SIGCONT)
        async with asyncio.timeout(_PATIENCE_S):
            await sending
        await _settled(up, number)
        check(up.database_url, loader, number)
        assert up.stop() == 0
