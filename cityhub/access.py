"""How a command finds the servers: by the settings, else those of a running ``cityhub up``."""

import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from cityhub.folder import write_closed
from core.errors import ConfigError, StartError
from core.settings import Settings

Connection = psycopg.Connection[Any]

_FILE: Final = "running.json"


def publish(folder: Path, facts: dict[str, Any]) -> None:
    """Let other commands of this user find what ``up`` runs; the file is for the owner only."""
    write_closed(folder / _FILE, json.dumps(facts, indent=1))


def running(settings: Settings) -> dict[str, Any]:
    """Return what a running ``cityhub up`` published, empty where none runs."""
    folder = settings.data_folder
    if not _is_locked(folder / "lock"):
        return {}
    try:
        facts: dict[str, Any] = json.loads((folder / _FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return facts


def database_url(settings: Settings) -> str:
    """Return where the database is.

    Raises:
        ConfigError: None is named, and no ``cityhub up`` runs.
    """
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    url = running(settings).get("database_url")
    if url is None:
        raise ConfigError(
            "no database is named, and no 'cityhub up' runs on the data folder"
            f" {settings.data_folder}: set CITYHUB_DATABASE_URL, or start 'cityhub up'"
        )
    return str(url)


@contextmanager
def connect(settings: Settings, *, autocommit: bool = False) -> Iterator[Connection]:
    """Lend a connection to the database, for one command.

    Raises:
        ConfigError: See :func:`database_url`.
        StartError: It does not answer, or has no tables yet.
    """
    try:
        with psycopg.connect(
            database_url(settings),
            autocommit=autocommit,
            connect_timeout=10,
            application_name="cityhub command",
        ) as conn:
            yield conn
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise StartError("the database has no tables of this hub: run 'cityhub migrate'") from error
    except psycopg.OperationalError as error:
        raise StartError(f"the database does not answer: {' '.join(str(error).split())}") from error


def publish_command(
    host: str, port: int, device_id: str, secret: str, values: Mapping[str, float]
) -> str:
    """Return a line for a shell that publishes one record as a device, with its login."""
    return shlex.join(
        [
            *("mosquitto_pub", "-h", host, "-p", str(port), "-q", "1"),
            *("-u", device_id, "-P", secret),
            *("-t", f"hub/{device_id}/telemetry", "-m", json.dumps(dict(values))),
        ]
    )


def _is_locked(path: Path) -> bool:
    """Return whether somebody holds the lock of a data folder."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
