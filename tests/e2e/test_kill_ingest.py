"""Kill the ingest role where it hurts: what was acknowledged is there, once, and in order.

The judge is the publisher's own log of PUBACKs, on disk, against SQL. A run without a commit that
was killed in its midst, or without a message that had to be delivered again, proves nothing and
fails.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest

from cityhub.folder import DataFolder
from cityhub.postgres import EmbeddedPostgres
from core.migrate import migrate
from core.model import Quality, to_micros
from core.tables import make_tables
from devices import KINDS
from tests.e2e.evidence import delivered_again
from tests.intake import Message, add_devices, cover, ledger, query
from tests.load import Loader
from tests.servers import Mosquitto, Nats, open_folder

DEVICES: Final = 50
SEED: Final = 1
ROUND: Final = 10_000
"""Messages a kill: more than a batch is left when it comes, so that a worker dies at its second."""
RATE: Final = 2_500
KILLS: Final = ("", "ingest.inside_commit", "", "ingest.before_commit", "ingest.after_commit")
"""Where the next worker dies by itself, after each kill at a random point of the flood."""
_PATIENCE_S: Final = 120.0


class Broker:
    """One of the two brokers, as the hub and the devices see it."""

    def __init__(self, hub_url: str, port: int, user: str, password: str, *, log: bool) -> None:
        self.hub_url = hub_url
        self.port = port
        self.user = user
        self.password = password
        self.has_log = log


@pytest.fixture(params=["mosquitto", "nats"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn, with a login that speaks for all devices."""
    if request.param == "nats":
        nats: Nats = request.getfixturevalue("nats")
        login = urlsplit(nats.simulator_url)
        return Broker(nats.url, nats.mqtt_port, str(login.username), str(login.password), log=True)
    mosquitto: Mosquitto = request.getfixturevalue("mosquitto")
    mosquitto.stop()
    mosquitto.prepare([("loader", "loader")])
    with (mosquitto.config.parent / "acl").open("a") as acl:
        acl.write("\nuser loader\ntopic write hub/#\n")
    mosquitto.start()
    return Broker(mosquitto.url, mosquitto.port, "loader", "loader", log=False)


class Role:
    """``cityhub ingest`` as a process."""

    def __init__(self, database: str, broker: Broker, log: Path) -> None:
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("CITYHUB_")},
            "CITYHUB_DATABASE_URL": database,
            "CITYHUB_BROKER_URL": broker.hub_url,
        }
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, failpoint: str = "") -> None:
        """Start it, perhaps with a point at which it kills itself."""
        environ = {**self._environ, **({"CITYHUB_FAILPOINT": failpoint} if failpoint else {})}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cityhub", "ingest"], env=environ, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        assert self._process.poll() is None, self.last_words()
        self._process.kill()
        assert self._process.wait(10) == -signal.SIGKILL

    async def died_by_itself(self) -> None:
        """Wait until its failpoint killed it."""
        assert self._process is not None
        code = await asyncio.to_thread(self._process.wait, _PATIENCE_S)
        assert code == -signal.SIGKILL, self.last_words()

    def is_running(self) -> bool:
        """Return whether it is there."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """Be done with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def last_words(self) -> str:
        """Return the end of its log."""
        return self._log.read_text("utf-8")[-3000:]


@contextmanager
def running_role(database: str, broker: Broker, folder: Path) -> Iterator[Role]:
    """Lend a role that has its session, so that the broker keeps messages for it."""
    role = Role(database, broker, folder / "ingest.log")
    role.start()
    try:
        until = time.monotonic() + _PATIENCE_S
        while not query(database, "SELECT 1 FROM hub.source_offset"):
            assert role.is_running(), role.last_words()
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(1.0)  # the subscription follows the claim
        yield role
    finally:
        role.end()


def prepare(database: str) -> int:
    """Register the devices; return a base for device times, in microseconds."""
    add_devices(database, *[f"MH-{i}" for i in range(DEVICES)])
    return to_micros(datetime.now(UTC)) // 1000 * 1000 - 600_000_000


def readings(number: int, base: int) -> list[Message]:
    """Return readings of all devices in turn, a millisecond apart."""
    return [cover(f"MH-{i % DEVICES}", i // DEVICES, ts=base + i * 1000) for i in range(number)]


def kill_at(turn: int, rng: random.Random) -> int:
    """Return how many messages must be acknowledged before the kill of a round.

    Progress and not time: the slowest machine is killed in the midst of the flood too.
    """
    return turn * ROUND + rng.randint(ROUND // 10, ROUND * 4 // 10)


async def settled(database: str, number: int, role: Role) -> None:
    """Wait until so many readings are stored."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        ((stored,),) = await asyncio.to_thread(
            query, database, "SELECT count(*) FROM hub.reading_manhole_cover"
        )
        if stored >= number:
            return
        assert role.is_running(), role.last_words()
        assert time.monotonic() < until, f"{stored} of {number}: {role.last_words()}"
        await asyncio.sleep(0.2)


def check(database: str, loader: Loader, number: int) -> None:
    """Hold the database against the publisher's log: L, D and O.

    Order is judged twice: between transactions by the age of their rows, and within them by what
    the order stage saw, for it marks a row behind a newer one of its device as late.
    """
    acknowledged = loader.acknowledged()
    assert acknowledged == set(range(number))
    rows = query(
        database,
        "SELECT device_id, seq, quality & %s FROM hub.reading_manhole_cover r"
        " JOIN hub.device USING (device_no) ORDER BY age(r.xmin) DESC, seq",
        int(Quality.LATE),
    )
    found = [(device, seq) for device, seq, _ in rows]
    expected = {(f"MH-{i % DEVICES}", i // DEVICES) for i in acknowledged}
    assert set(found) == expected, "lost or made up"
    assert len(found) == len(expected), "stored twice"
    last: dict[str, int] = {}
    for device, seq in found:
        assert seq == last.get(device, -1) + 1, f"{device} out of order at {seq}"
        last[device] = seq
    late = [(device, seq) for device, seq, mark in rows if mark]
    assert not late, f"out of order within a transaction: {late[:5]}"
    _, stored, _, quarantined = ledger(database)
    assert (stored, quarantined) == (number, 0)


@pytest.mark.tier_p
@pytest.mark.timeout(300)
async def test_1_a_worker_killed_at_random_points_loses_nothing(
    database: str, broker: Broker, tmp_path: Path
) -> None:
    number, rng = ROUND * len(KILLS), random.Random(SEED)
    flood = readings(number, prepare(database))
    loader = Loader(broker.port, broker.user, broker.password, log=tmp_path / "pubacks")
    with running_role(database, broker, tmp_path) as role:
        for turn, failpoint in enumerate(KILLS):
            sending = asyncio.create_task(loader.send(flood[: (turn + 1) * ROUND], rate=RATE))
            async with asyncio.timeout(_PATIENCE_S):
                await loader.reached(kill_at(turn, rng))
            role.kill()
            assert not sending.done(), "the kill came too late to hurt"
            if failpoint:
                role.start(f"{failpoint}:kill@{rng.randint(1, 2)}")
                await role.died_by_itself()
            role.start()
            async with asyncio.timeout(_PATIENCE_S):
                await sending
        await settled(database, number, role)
    check(database, loader, number)
    again = delivered_again(broker.hub_url) if broker.has_log else ledger(database)[2]
    assert again > 0, "no redelivery was seen: the run is invalid"


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that a test may stop."""
    with open_folder() as path, DataFolder(path) as folder:
        server = EmbeddedPostgres(folder, home=None, port=0, say=lambda _: None)
        asyncio.run(server.start())
        try:
            yield server
        finally:
            server.stop()


@pytest.mark.tier_p
def test_6_a_database_stopped_for_20_s_loses_nothing(
    own_postgres: EmbeddedPostgres, broker: Broker, tmp_path: Path
) -> None:
    database, number = own_postgres.url, 15_000
    migrate(database)
    with psycopg.connect(database) as conn:
        make_tables(conn, [kind.table for kind in KINDS.values()])
    base = prepare(database)
    loader = Loader(broker.port, broker.user, broker.password, log=tmp_path / "pubacks")

    async def main(role: Role) -> None:
        sending = asyncio.create_task(loader.send(readings(number, base), rate=500))
        await asyncio.sleep(3)
        before = ledger(database)[0]
        own_postgres.stop()
        await asyncio.sleep(20)
        assert role.is_running(), role.last_words()
        await own_postgres.start()
        assert before > 0
        await sending
        await settled(database, number, role)

    with running_role(database, broker, tmp_path) as role:
        asyncio.run(main(role))
    check(database, loader, number)
