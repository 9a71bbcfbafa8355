"""Servers and databases for the tests: real ones, each test with a database of its own."""

import os
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from core.db import Pool, open_pool
from core.migrate import migrate
from core.tables import make_tables
from devices import KINDS


@pytest.fixture(scope="session")
def server_url() -> str:
    """A PostgreSQL server whose superuser we are."""
    url = os.environ.get("CITYHUB_TEST_DATABASE_URL")
    if url is None:
        pytest.skip("CITYHUB_TEST_DATABASE_URL names no PostgreSQL")
    return url


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
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
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
async def pool(database: str) -> AsyncIterator[Pool]:
    """A pool on a database of its own."""
    async with open_pool(database, 4, name="test") as pool:
        yield pool
