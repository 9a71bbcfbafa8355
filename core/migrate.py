"""Bring a database up to date: plain SQL files, in order, each once, each in one transaction."""

from importlib import resources
from typing import Any, Final

import psycopg
from psycopg import sql

from core.db import translated
from core.errors import StartError

_LOCK_MIGRATION: Final = 0x4349_5401  # two migrators never run at once
_LEAST_SERVER: Final = 150_000
_LEDGER: Final = """
CREATE SCHEMA IF NOT EXISTS hub;
CREATE TABLE IF NOT EXISTS hub.schema_file (name text PRIMARY KEY, at timestamptz NOT NULL)
"""


def migrate(url: str) -> list[str]:
    """Apply the files of ``core/schema`` that this database has not seen.

    Files only ever go forward; a ``lock_timeout`` of 2 s keeps a migration from standing in
    front of the writer.

    Returns:
        The names of the files applied, in order; empty where there was nothing to do.

    Raises:
        StartError: The server is older than 15, or the database is newer than this program.
        StoreUnavailableError: The database cannot be reached, or was locked for too long.
    """
    with translated(), psycopg.connect(url, autocommit=True) as conn:
        _check_server(conn)
        conn.execute("SELECT pg_advisory_lock(%s)", [_LOCK_MIGRATION])
        conn.execute("SET lock_timeout = '2s'")
        conn.execute(_LEDGER)
        files = schema_files()
        seen = {name for (name,) in conn.execute("SELECT name FROM hub.schema_file").fetchall()}
        if newer := sorted(seen - set(files)):
            raise StartError(
                f"the database was migrated by a newer cityhub ({newer[-1]}); update this one"
            )
        fresh = [name for name in files if name not in seen]
        for name in fresh:
            with conn.transaction():
                conn.execute(sql.SQL(files[name]))
                conn.execute("INSERT INTO hub.schema_file VALUES (%s, now())", [name])
    return fresh


def schema_files() -> dict[str, str]:
    """Return the migrations, SQL by name, in order."""
    files = sorted(
        (f for f in resources.files("core.schema").iterdir() if f.name.endswith(".sql")),
        key=lambda f: f.name,
    )
    return {file.name: file.read_text("utf-8") for file in files}


def _check_server(conn: psycopg.Connection[Any]) -> None:
    if conn.info.server_version < _LEAST_SERVER:
        raise StartError(
            f"PostgreSQL {conn.info.server_version // 10_000} is too old: cityhub needs 15 or newer"
        )
