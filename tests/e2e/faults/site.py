"""A site to break: ``cityhub ingest`` as a process between a broker and a database, and its judge.

The load writes down what was acknowledged, on disk; the oracle holds that against SQL. Whatever a
test breaks in between, the verdict is the same: 0 lost, 0 twice, no order broken, books balanced.
A few covers are opened in each load: their alarms come once, go out once, and the feed tells each
once (:mod:`tests.e2e.faults.office`). Nothing of the hub outgrows what it took before.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from core.clock import SystemClock
from devices import KINDS
from simulators.courier import Login
from simulators.footprint import footprint
from simulators.load import Load, run_load
from simulators.oracle import Score, score
from simulators.publisher import Publication, Publisher
from simulators.run_ledger import Key, Run, RunLedger, read_run
from tests.e2e.faults.office import Office, open_office
from tests.intake import add_devices, query
from tests.servers import Mosquitto, Nats

DEVICES: Final = 50
PATIENCE_S: Final = 60.0
THEFTS: Final = 3
_ENDLESS: Final = 10**9
_OWNER: Final = "SZ"
_TABLE: Final = "hub.reading_manhole_cover"


@dataclass(frozen=True, slots=True)
class Broker:
    """One of the two brokers, as the hub and the devices see it.

    Attributes:
        hub_url: The hub's door and login.
        login: The devices' door, and a login that speaks for all of them.
        has_log: What it acknowledged it has stored.
        server: To stop, kill and configure; None: it belongs to the hub.
    """

    hub_url: str
    login: Login
    has_log: bool
    server: Mosquitto | Nats | None


def open_nats(nats: Nats) -> Broker:
    """Return the embedded broker."""
    door = urlsplit(nats.simulator_url)
    login = Login("127.0.0.1", nats.mqtt_port, door.username, door.password)
    return Broker(nats.url, login, has_log=True, server=nats)


def open_mosquitto(mosquitto: Mosquitto, *logins: str, **lines: str) -> Broker:
    """Return a mosquitto configured as we ship it.

    Args:
        mosquitto: Its server; started anew.
        logins: Devices that log in by themselves, the id as their password.
        lines: Settings that differ from ours.
    """
    mosquitto.stop()
    mosquitto.prepare([("loader", "loader"), *((name, name) for name in logins)])
    with (mosquitto.config.parent / "acl").open("a") as acl:
        acl.write("\nuser loader\ntopic write hub/#\n")
    text = mosquitto.config.read_text("utf-8").splitlines()
    text = [line for line in text if line.split(" ")[0] not in lines]
    text += [f"{name} {value}" for name, value in lines.items() if value]
    mosquitto.config.write_text("\n".join(text) + "\n", "utf-8")
    mosquitto.start()
    login = Login("127.0.0.1", mosquitto.port, "loader", "loader")
    return Broker(mosquitto.url, login, has_log=False, server=mosquitto)


def through(url: str, port: int) -> str:
    """Return a URL that leads to another port of loopback, such as a proxy's."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))


def port_of(url: str) -> int:
    """Return the port that a URL names."""
    return urlsplit(url).port or 0


def settle(database: str, number: int = DEVICES) -> list[str]:
    """Register covers, and the department that mends them; return their ids."""
    devices = [f"MH-{i}" for i in range(number)]
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO hub.department (dept_code, name_zh, name_en) VALUES (%s, %s, %s)",
            [_OWNER, "市政所", "Public works"],
        )
    add_devices(database, *devices, dept_code=_OWNER)
    return devices


class Role:
    """``cityhub ingest`` as a process."""

    def __init__(self, log: Path, environ: dict[str, str]) -> None:
        self._environ = environ
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, failpoint: str = "") -> None:
        """Start it, perhaps with a failpoint on."""
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("CITYHUB_")},
            **self._environ,
            **({"CITYHUB_FAILPOINT": failpoint} if failpoint else {}),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cityhub", "ingest"], env=environ, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        assert self._process.poll() is None, self.last_words()
        self._process.kill()
        assert self._process.wait(10) == -signal.SIGKILL

    async def ended(self, seconds: float = 30) -> int:
        """Wait until it ended by itself; return its exit code."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, seconds)

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


class Living(Protocol):
    """A process that should be there, and what it says if it is not."""

    def is_running(self) -> bool:
        """Return whether it is there."""

    def last_words(self) -> str:
        """Return the end of its log."""


@dataclass
class Site:
    """What a test breaks; open it with ``async with``.

    Attributes:
        database: URL of a migrated database.
        broker: The broker.
        folder: For logs and the ledger of the run.
        node: The test, which is told the verdict.
        devices: Registered covers.
    """

    database: str
    broker: Broker
    folder: Path
    node: pytest.Item
    devices: Sequence[str] = ()
    clock: SystemClock = field(default_factory=SystemClock)
    office: Office | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        """Be open until the test is over."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """See :meth:`aclose`."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the office, if there is one."""
        await self._stack.aclose()

    @property
    def ledger(self) -> Path:
        """The ledger of the run."""
        return self.folder / "run.jsonl"

    def settle(self, number: int = DEVICES) -> None:
        """Register covers, and the department that mends them."""
        self.devices = settle(self.database, number)

    def role(
        self, name: str = "ingest", *, database: str = "", broker: str = "", **environ: str
    ) -> Role:
        """Return a role that is not started yet.

        Args:
            name: Of its log.
            database: Another way to the database, such as through a proxy.
            broker: Another way to the broker.
            environ: Further settings, without ``CITYHUB_``.
        """
        return Role(
            self.folder / f"{name}.log",
            {
                "CITYHUB_DATABASE_URL": database or self.database,
                "CITYHUB_BROKER_URL": broker or self.broker.hub_url,
                **{f"CITYHUB_{name}": value for name, value in environ.items()},
            },
        )

    @contextmanager
    def running(self, role: Role, failpoint: str = "") -> Iterator[Role]:
        """Start a role and wait until the broker keeps messages for it."""
        if not self.devices:
            self.settle()
        role.start(failpoint)
        try:
            until = time.monotonic() + 20
            while not query(self.database, "SELECT 1 FROM hub.source_offset"):
                assert role.is_running(), role.last_words()
                assert time.monotonic() < until
                time.sleep(0.05)
            time.sleep(1.0)  # the subscription follows the claim
            self.measure(role)
            yield role
        finally:
            role.end()

    @asynccontextmanager
    async def loaded(
        self, rate: float, number: int | None = None, *, thefts: int = THEFTS, **options: Any
    ) -> AsyncIterator["asyncio.Task[Publisher[Key | None]]"]:
        """Send readings beside the test; at the end all must be acknowledged.

        Args:
            rate: Messages a second.
            number: How many; None: until the test has done what it does meanwhile.
            thefts: So many covers are opened after a second or at half of the number.
            options: Of the :class:`Load`.
        """
        if thefts and self.office is None:
            opened = open_office(self.database, self.folder)
            self.office = await self._stack.enter_async_context(opened)
        options |= {"theft_after": int(rate) if number is None else number // 2}
        load = Load(
            KINDS["manhole_cover"],
            self.devices,
            number or _ENDLESS,
            thefts=thefts,
            dispatched=True,
            **options,
        )
        over = asyncio.Event()
        sending = asyncio.create_task(
            run_load(
                load,
                self.broker.login,
                rate=rate,
                ledger=self.ledger,
                clock=self.clock,
                until=over.is_set,
            )
        )
        try:
            yield sending
            if number is None:
                over.set()
            async with asyncio.timeout(PATIENCE_S + (number or 0) / rate):
                await sending
        finally:
            sending.cancel()
            await asyncio.wait([sending])

    async def publish(
        self, messages: Iterable[tuple[str, bytes, Key | None]], *, rate: float = 2_000
    ) -> None:
        """Send messages of the test's own; those with a key are of the run."""
        book = RunLedger(self.ledger)
        book.begin("manhole_cover", self.clock.micros())
        publisher = Publisher[Key | None](
            self.broker.login,
            sending=lambda keys: book.sending(filter(None, keys)),
            acknowledged=lambda keys: book.acknowledged(filter(None, keys)),
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                await publisher.send((Publication(*message) for message in messages), rate=rate)
        finally:
            book.close()

    def note(self, keys: Sequence[Key]) -> None:
        """Write down what a sender of the test's own had acknowledged."""
        book = RunLedger(self.ledger)
        book.sending(keys)
        book.acknowledged(keys)
        book.close()

    async def ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, without holding the loop up."""
        return await asyncio.to_thread(query, self.database, statement, *parameters)

    async def stored(self) -> int:
        """Return how many readings there are."""
        ((number,),) = await self.ask(f"SELECT count(*) FROM {_TABLE}")
        return int(number)

    async def settled(
        self, role: Living, number: int | None = None, seconds: float = PATIENCE_S
    ) -> None:
        """Wait until so many readings are stored; unless told, all that were acknowledged."""
        wanted = len(self.run().acked) if number is None else number
        until = time.monotonic() + seconds
        while (stored := await self.stored()) < wanted:
            assert role.is_running(), role.last_words()
            assert time.monotonic() < until, f"{stored} of {wanted}: {role.last_words()}"
            await asyncio.sleep(0.1)

    def run(self) -> Run:
        """Return what the senders know so far."""
        return read_run(self.ledger)

    def expect(self, device_id: str, rule_id: str) -> None:
        """Write down an alarm that a message of the test's own must raise."""
        book = RunLedger(self.ledger)
        book.expect_alarm(device_id, rule_id, dispatched=False)
        book.close()

    def measure(self, role: Role) -> None:
        """Write down what a role takes before a run."""
        book = RunLedger(self.ledger)
        book.base(footprint(role.pid))
        book.close()

    async def judge(self, *, lost_at_most: int = 0) -> Score:
        """Let the oracle judge, and tell the table of faults.

        To be asked while the role still runs, or what it has grown to is not seen.

        Args:
            lost_at_most: A documented bound, where the broker may forget what it acknowledged.
        """
        run = self.run()
        files = {}
        if self.office is not None:
            await self.office.settled(self.database, sum(run.alarms.values()))
            files = {"received": self.office.journal, "feed": self.office.feed}
        found = await asyncio.to_thread(self._score, run, files)
        tell(self.node, found)
        broken = [verdict for verdict in found.verdicts if verdict.breaches]
        if lost_at_most:
            assert found.breaches("L") <= lost_at_most, broken
            broken = [verdict for verdict in broken if verdict.letter != "L"]
        assert not broken, broken
        assert found.sent > 0, "nothing was sent: the run proves nothing"
        return found

    def _score(self, run: Run, files: dict[str, Path]) -> Score:
        with psycopg.connect(self.database) as conn:
            return score(conn, run, **files)

    async def duplicates(self) -> int:
        """Return how many records came again."""
        ((number,),) = await self.ask("SELECT coalesce(sum(duplicate), 0)::int FROM hub.ledger")
        return int(number)


def tell(node: pytest.Item, found: Score) -> None:
    """Tell the table of faults what the oracle found."""
    node.user_properties.append(("sent", found.sent))
    for name, letter in (
        ("lost", "L"), ("twice", "D"), ("disorder", "O"), ("alarms", "A"), ("feed", "F")
    ):  # fmt: skip
        if letter in {verdict.letter for verdict in found.verdicts}:
            node.user_properties.append((name, found.breaches(letter)))
