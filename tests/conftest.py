"""Servers and databases for the tests: real ones, each test with a database of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cityhub.binaries import POSTGRES
from cityhub.folder import DataFolder
from cityhub.postgres import EmbeddedPostgres
from core.db import Pool, open_pool
from core.migrate import migrate
from core.tables import make_tables, read_edition
from devices import KINDS
from tests.servers import (
    Mosquitto,
    Nats,
    broker_versions,
    open_folder,
    require_mosquitto,
    run_nats,
)
from tests.timescale import describe_timescaledb, open_timescaledb

_SERVER = "CITYHUB_TEST_DATABASE_URL"
_CHANCE = "by chance for properties (a failing one prints its own; --hypothesis-seed=N), else fixed"


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what the tests run against, and how to repeat the run."""
    seed = config.getoption("--hypothesis-seed")
    return [
        f"databases: {_describe_database()}, {describe_timescaledb()}",
        f"brokers: {broker_versions()}",
        f"seed: {seed if seed is not None else _CHANCE}",
    ]


def _describe_database() -> str:
    url = os.environ.get(_SERVER)
    if url is None:
        return f"PostgreSQL {POSTGRES.version} (plain, our own child)"
    with psycopg.connect(url) as conn:
        version = conn.info.server_version
        return (
            f"PostgreSQL {version // 10_000}.{version % 10_000} ({read_edition(conn)}, {_SERVER})"
        )


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server whose superuser we are: our own, unless one is named."""
    if url := os.environ.get(_SERVER):
        yield url
        return
    with open_folder() as path, DataFolder(path) as folder:
        server = EmbeddedPostgres(
            folder, home=None, port=0, say=lambda _: None, tuning={"fsync": "off"}
        )
        asyncio.run(server.start())
        try:
            yield server.superuser_url
        finally:
            server.stop()


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """A migrated database, copied by each test."""
    name = f"cityhub_template_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = make_conninfo(server_url, dbname=name)
        migrate(url)
        with psycopg.connect(url) as fresh:
            make_tables(fresh, [kind.table for kind in KINDS.values()])
        yield name
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(server_url: str, template: str) -> Iterator[str]:
    """The URL of a migrated database of its own, dropped afterwards."""
    name = f"cityhub_test_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        parts = conninfo_to_dict(server_url)
        yield (
            f"postgresql://{parts['user']}:{parts.get('password', '')}"
            f"@{parts['host']}:{parts.get('port', 5432)}/{name}"
        )
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def further_database(database: str) -> Iterator[Callable[[], str]]:
    """Makes databases like the first one, as it stands, dropped afterwards."""

    @contextmanager
    def made() -> Iterator[str]:
        name = f"cityhub_test_{uuid4().hex}"
        home, first = database.rpartition("/")[::2]
        with psycopg.connect(f"{home}/postgres", autocommit=True) as conn:
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            conn.execute(copy.format(sql.Identifier(name), sql.Identifier(first)))
            try:
                yield f"{home}/{name}"
            finally:
                drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
                conn.execute(drop.format(sql.Identifier(name)))

    with ExitStack() as stack:
        yield lambda: stack.enter_context(made())


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    """A pool on a database of its own."""
    async with open_pool(database, 4, name="test") as pool:
        yield pool


@pytest.fixture(scope="session")
def timescaledb() -> Iterator[str]:
    """The URL of a TimescaleDB server whose superuser we are."""
    with open_timescaledb() as url:
        yield url


@pytest.fixture
def nats() -> Iterator[Nats]:
    """The embedded broker with an empty log, for one test."""
    with open_folder() as path, DataFolder(path) as folder:
        server = run_nats(folder)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    """A mosquitto without any session, for one test."""
    require_mosquitto()
    with open_folder() as path:
        server = Mosquitto(path)
        server.prepare()
        server.start()
        try:
            yield server
        finally:
            server.stop()
