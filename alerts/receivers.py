"""Receivers (接收方) as data: who is told of cases, in which form, how fast, and of what.

A receiver's row holds no secret, only where the secret is: derived from the site key and its name,
or in a file of the data folder's ``secrets``. Whoever reads the table learns nothing, and whoever
writes it cannot have another file of this machine sent away.
"""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from alerts.connectors import alertmanager, cap, exchange, notify, open311
from alerts.connectors.address import Network
from alerts.connectors.drop_folder import DropFolder
from alerts.connectors.forms import FORMS
from alerts.connectors.null import Null
from alerts.connectors.webhook import open_webhook
from alerts.connectors.wire import open_client
from alerts.message import MAIN
from alerts.outbox import Deliverer
from alerts.rows import columns_of, insert, select, values_of
from core.clock import Clock
from core.db import Connection
from core.errors import ConfigError, ConflictError, NotFoundError
from core.model import Text

TAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "webhook": tuple(sorted(MAIN)),
    "exchange": exchange.TAKES,
    "cap": cap.TAKES,
    "alertmanager": alertmanager.TAKES,
    "open311": open311.TAKES,
    "file": tuple(sorted(MAIN)),
    "notify": notify.TAKES,
    "null": tuple(sorted(MAIN)),
}
"""What each kind of receiver is told, unless its row says otherwise."""

_HTTP: Final = frozenset({*FORMS, "open311"})
_AUDIT: Final = """
INSERT INTO hub.audit (at, actor, action, object, object_id, outcome, detail)
VALUES (%s, %s, %s, 'receiver', %s, 'done', %s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A receiver; each attribute is the column of ``hub.receiver`` of the same name."""

    name: str
    kind: str
    url: str | None = None
    secret_ref: str = "site"  # noqa: S105 - it says where from
    takes: tuple[str, ...] = ()
    least: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    per_minute: float | None = None
    disabled: bool = False
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where the secrets of receivers come from.

    Attributes:
        site_key: What they follow from; None: this machine has none.
        folder: Where those are that other people made.
        main: The secret of the platform that the settings name.
    """

    site_key: bytes | None
    folder: Path
    main: str | None = None

    def of(self, receiver: Receiver) -> str | None:
        """Return the secret of a receiver; None: it has none.

        Raises:
            ConfigError: It is not where the row says.
        """
        if receiver.secret_ref == "none":  # noqa: S105 - it says that there is none
            return None
        if receiver.secret_ref == "site":  # noqa: S105 - it says where from
            if self.site_key is None:
                raise ConfigError(f"the secret of {receiver.name} needs the site key: copy it here")
            return derive(self.site_key, receiver.name)
        path = self.folder / receiver.secret_ref.removeprefix("file:")
        try:
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the secret of {receiver.name} cannot be read: {error}") from error


def derive(site_key: bytes, name: str) -> str:
    """Return the secret that follows from the site key and a receiver's name.

    >>> derive(bytes(32), "platform")
    'OpUygcz1RKc1awzePWyxU6p6lmZpgh3F0NJN5ZT54gw'
    """
    digest = hmac.new(site_key, f"receiver:{name}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def check(receiver: Receiver) -> Receiver:
    """Return a receiver with its defaults filled in.

    Raises:
        ConfigError: Something about it cannot be.
    """
    if receiver.kind not in TAKES:
        raise ConfigError(f"there is no kind {receiver.kind!r}; there are {', '.join(TAKES)}")
    url = receiver.url or ""
    if receiver.kind in _HTTP and not url.startswith(("http://", "https://")):
        raise ConfigError(f"a receiver of kind {receiver.kind} needs an http:// or https:// URL")
    if receiver.kind == "file" and not url.startswith("/"):
        raise ConfigError("a receiver of kind file needs a folder, from the root, as its URL")
    if receiver.kind == "file" and receiver.options.get("form", "webhook") not in FORMS:
        raise ConfigError(f"options.form must be one of {', '.join(FORMS)}")
    if receiver.kind == "notify" and not receiver.secret_ref.startswith("file:"):
        raise ConfigError("notifications need their URLs in a file: --secret file:NAME")
    per_minute = receiver.per_minute
    if receiver.kind == "notify" and per_minute is None:
        per_minute = notify.PER_MINUTE
    takes = receiver.takes or TAKES[receiver.kind]
    return replace(receiver, takes=takes, per_minute=per_minute)


async def read_receivers(conn: Connection) -> list[Receiver]:
    """Return all receivers by name, the disabled ones as well."""
    query = sql.SQL("SELECT {} FROM hub.receiver ORDER BY name").format(columns_of(Receiver))
    rows = await select(conn, query, {})
    return [Receiver(**{**row, "takes": tuple(row["takes"])}) for row in rows]


async def find_receiver(conn: Connection, name: str) -> Receiver:
    """Return a receiver.

    Raises:
        NotFoundError: There is none of this name.
    """
    for receiver in await read_receivers(conn):
        if receiver.name == name:
            return receiver
    raise NotFoundError(Text(f"没有接收方 {name}", f"there is no receiver {name}"))


async def add_receiver(conn: Connection, receiver: Receiver) -> Receiver:
    """Add a receiver.

    Raises:
        ConfigError: Something about it cannot be.
        ConflictError: There is one of this name.
    """
    receiver = check(receiver)
    known = {each.name for each in await read_receivers(conn)}
    if receiver.name in known:
        raise ConflictError(
            Text(f"已有接收方 {receiver.name}", f"there is a receiver {receiver.name} already")
        )
    await insert(
        conn, "receiver", values_of(receiver) | {"options": Jsonb(receiver.options)}, "name"
    )
    await _note(conn, receiver, "receiver_added")
    return receiver


async def set_disabled(
    conn: Connection, name: str, *, disabled: bool, actor: str, now: datetime
) -> None:
    """Stop telling a receiver, or go on; what is queued for it waits meanwhile.

    Raises:
        NotFoundError: There is none of this name.
    """
    found = await find_receiver(conn, name)
    receiver = replace(found, disabled=disabled, changed_by=actor, changed_at=now)
    await conn.execute(
        "UPDATE hub.receiver SET disabled = %s, changed_at = %s, changed_by = %s WHERE name = %s",
        [disabled, now, actor, name],
    )
    await _note(conn, receiver, "receiver_disabled" if disabled else "receiver_enabled")


async def _note(conn: Connection, receiver: Receiver, action: str) -> None:
    detail = {"kind": receiver.kind, "url": receiver.url, "takes": list(receiver.takes)}
    at, by = receiver.changed_at, receiver.changed_by
    await conn.execute(_AUDIT, [at, by, action, receiver.name, Jsonb(detail)])


@asynccontextmanager
async def open_connector(
    receiver: Receiver,
    *,
    secrets: Secrets,
    networks: Sequence[Network],
    timeout_s: float,
    clock: Clock,
) -> AsyncIterator[Deliverer]:
    """Lend the way out to a receiver.

    Args:
        receiver: Which.
        secrets: Where its secret comes from.
        networks: Where it may connect to beside public addresses.
        timeout_s: How long one exchange may take in all.
        clock: The hub's time.

    Raises:
        ConfigError: Its secret or its options will not do.
    """
    options, url = receiver.options, receiver.url or ""
    if receiver.kind == "null":
        yield Null()
    elif receiver.kind == "file":
        yield DropFolder(Path(url), FORMS[options.get("form", "webhook")], options)
    elif receiver.kind == "notify":
        urls = (secrets.of(receiver) or "").split()
        yield notify.Notify(notify.open_apprise(urls), timeout_s=timeout_s)
    elif receiver.kind == "open311":
        async with open_client(timeout_s, networks) as client:
            yield open311.Open311(
                client,
                url,
                api_key=secrets.of(receiver),
                options=options,
                timeout_s=timeout_s,
                clock=clock,
            )
    else:
        async with open_webhook(
            url,
            secret=secrets.of(receiver),
            timeout_s=timeout_s,
            clock=clock,
            render=FORMS[receiver.kind],
            options=options,
            networks=networks,
        ) as webhook:
            yield webhook
