"""``cityhub doctor``: looks at each thing a hub needs and says in a sentence what is wrong."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from cityhub import access
from cityhub.binaries import nats_server, postgres_home
from cityhub.chain import demand_whole
from cityhub.safety import find_unsafe, find_unsafe_broker
from core.errors import CityhubError, ConfigError, StartError
from core.metrics import LOG_FULL
from core.migrate import schema_files
from core.presence import SELECT_ROLES, SILENT_S, Presence, read_roles, youngest
from core.settings import Settings
from core.tables import read_edition
from ingest.sources.log import read_fill

_LEAST_FREE: Final = 0.1
_LEDGER: Final = "SELECT name FROM hub.schema_file"
_LATE: Final = """
SELECT (SELECT count(*) FROM hub.device WHERE state = 'active') AS devices,
       (SELECT max(last_contact_at) FROM hub.device_seen) AS heard,
       (SELECT count(*) FROM hub.outbox WHERE state = 'dead') AS dead,
       (SELECT count(*) FROM hub.quarantine WHERE state = 'open') AS quarantined
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one look.

    Attributes:
        what: What was looked at.
        well: Nothing needs doing.
        words: What was found, and what to do.
    """

    what: str
    well: bool
    words: str

    def facts(self) -> dict[str, Any]:
        """Return it for a program."""
        return asdict(self)


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything; the order is that in which things depend on one another."""
    looks: list[tuple[str, Callable[[Settings], Awaitable[str]]]] = [
        ("settings", _settings),
        ("server programs", _programs),
        ("data folder", _folder),
        ("database", _database),
        ("tables", _tables),
        ("broker", _broker),
        ("disk", _disk),
        ("page", _page),
        ("roles", _roles),
        ("work", _work),
        ("event log", _event_log),
    ]
    findings = []
    for what, look in looks:
        try:
            words, well = await look(settings), True
        except psycopg.errors.UndefinedTable:
            words, well = "tables are missing: run 'cityhub migrate'", False
        except (CityhubError, psycopg.Error, OSError) as error:
            words, well = " ".join(str(error).split()) or type(error).__name__, False
        findings.append(Finding(what, well, words))
    return findings


async def _settings(settings: Settings) -> str:
    if unsafe := list(find_unsafe(settings)):
        raise ConfigError("; ".join(unsafe))
    return "none that would lose messages or let strangers in"


async def _programs(settings: Settings) -> str:
    if settings.embedded.postgres_home is None and settings.database.url is None:
        postgres_home(None)
    if settings.embedded.nats_server is None and settings.broker.url is None:
        nats_server(None)
    return "those that this hub starts itself are the checked ones"


async def _folder(settings: Settings) -> str:
    folder = settings.data_folder
    facts = access.running(settings)
    if facts:
        return f"{folder}, in use by 'cityhub up' (process {facts['pid']})"
    if not folder.exists():
        return f"{folder} is made at the first 'cityhub up'"
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StartError(f"{folder} cannot be written by this user: set CITYHUB_DATA_FOLDER")
    return f"{folder}, not in use"


async def _database(settings: Settings) -> str:
    async with await _connect(settings) as conn:
        version = conn.info.server_version
    with psycopg.connect(access.database_url(settings)) as sync:
        edition = read_edition(sync)
    return f"PostgreSQL {version // 10_000}.{version % 10_000}, {edition}"


async def _tables(settings: Settings) -> str:
    async with await _connect(settings) as conn:
        rows = await (await conn.execute(_LEDGER)).fetchall()
    if missing := sorted(set(schema_files()) - {name for (name,) in rows}):
        raise StartError(f"not up to date ({missing[0]} is missing): run 'cityhub migrate'")
    return "up to date"


async def _broker(settings: Settings) -> str:
    url = settings.broker.url.get_secret_value() if settings.broker.url else None
    url = url or access.running(settings).get("broker_url")
    if url is None:
        raise StartError("none is named and none runs: set CITYHUB_BROKER_URL, or 'cityhub up'")
    hosts = ", ".join(urlsplit(one).netloc.rpartition("@")[2] for one in url.split(","))
    is_log = urlsplit(url).scheme in {"nats", "tls"}
    if not is_log and await _is_read(settings):
        # The look would take the hub's session for a moment.
        return f"{hosts}, looked at by the role ingest when it started"
    if problem := await find_unsafe_broker(settings, url):
        raise StartError(problem)
    if is_log and (fill := await read_fill(url, ca_file=settings.broker.ca_file)) >= LOG_FULL:
        raise StartError(
            f"{hosts}, its log is {fill:.0%} full of what is not stored yet: see that 'cityhub"
            " ingest' runs and keeps up; a full log refuses devices, which then send again"
        )
    return f"{hosts}, {'its log is whole' if is_log else 'keeps the hub and devices apart'}"


async def _is_read(settings: Settings) -> bool:
    """Tell whether some role reads the broker now."""
    try:
        return any(one.role == "ingest" and one.alive for one in await _present(settings))
    except (CityhubError, psycopg.Error):
        return False


async def _present(settings: Settings) -> list[Presence]:
    async with await _connect(settings) as conn, conn.cursor(row_factory=dict_row) as cursor:
        return read_roles(await (await cursor.execute(SELECT_ROLES)).fetchall())


async def _disk(settings: Settings) -> str:
    folder = settings.data_folder
    there = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(there)
    words = f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.1f} GB free where {there} is"
    if usage.free < _LEAST_FREE * usage.total:
        raise StartError(f"{words}: make room before the log and the database stand still")
    return words


async def _page(settings: Settings) -> str:
    url = access.running(settings).get("api_url")
    host, port = settings.api.host, settings.api.port
    if url:
        host, port = urlsplit(url).hostname or host, urlsplit(url).port or port
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise StartError(
            f"nothing answers on {host}:{port}: start 'cityhub serve' or 'cityhub up'"
        ) from error
    writer.close()
    await writer.wait_closed()
    return f"http://{host}:{port}"


async def _roles(settings: Settings) -> str:
    ages = youngest(await _present(settings))
    if not ages:
        raise StartError("none runs: start 'cityhub up', or each role by itself")
    if silent := sorted(role for role, age in ages.items() if age > SILENT_S):
        raise StartError(
            f"not heard for {SILENT_S:g} s: {', '.join(silent)}; see whether they still run"
        )
    return ", ".join(f"{role} {age:.0f} s ago" for role, age in sorted(ages.items()))


async def _work(settings: Settings) -> str:
    async with await _connect(settings) as conn:
        row = await (await conn.execute(_LATE)).fetchone()
    devices, heard, dead, quarantined = row or (0, None, 0, 0)
    if dead:
        raise StartError(f"{dead} work orders could not be delivered: see /api/v1/outbox")
    when = f"last heard {heard:%Y-%m-%d %H:%M:%S}Z" if heard else "none was heard yet"
    return f"{devices} active devices, {when}; {quarantined} messages in quarantine"


async def _event_log(settings: Settings) -> str:
    with psycopg.connect(access.database_url(settings)) as sync:
        return demand_whole(sync)


async def _connect(settings: Settings) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        access.database_url(settings), autocommit=True, connect_timeout=5
    )
