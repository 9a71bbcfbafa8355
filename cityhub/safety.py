"""Configurations that would lose messages or let strangers in: each refused with one sentence.

``cityhub doctor`` names them all; a role refuses to start at the first. What only a broker can tell
is asked of it before the first message is read; a broker that is away is not asked, and the reader
waits for it as always.
"""

import ipaddress
import logging
import socket
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from api.auth import check_binding
from core.errors import ConfigError, StartError
from core.settings import Settings

log = logging.getLogger(__name__)

_WELL_KNOWN: Final = frozenset(
    {
        "…", "admin", "changeme", "cityhub", "guest", "hub", "mqtt", "nats", "password",
        "postgres", "public", "root", "secret", "test", "timescaledb", "user", "123456",
        "12345678", "123456789",
    }
)  # fmt: skip
"""Passwords that a scanner tries first; among them what images and examples bring."""

_ENCRYPTED_SSLMODES: Final = frozenset({"require", "verify-ca", "verify-full"})


def find_unsafe(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each unsafe setting."""
    try:
        check_binding(settings)
    except ConfigError as error:
        yield str(error)
    if settings.api.public_hosts and settings.api.token is None:
        yield (
            "api.public_hosts names a proxy, through which everybody would be on loopback, so it"
            " needs a login: set api.token, such as to the output of: openssl rand -hex 16"
        )
    yield from _passwords(settings)
    yield from _plaintext(settings)
    yield from _window(settings)


def refuse_unsafe(settings: Settings) -> None:
    """Refuse to start with an unsafe setting.

    Raises:
        ConfigError: The first of them.
    """
    for sentence in find_unsafe(settings):
        raise ConfigError(sentence)


async def find_unsafe_broker(settings: Settings, url: str) -> str | None:
    """Return one sentence on why a broker is unsafe, or None.

    Args:
        settings: How the hub connects.
        url: The broker's URL.

    Raises:
        OSError: An MQTT broker cannot be reached, or refuses the login.
        StartError: A NATS cannot be asked.
    """
    broker = settings.broker
    scheme = urlsplit(url).scheme
    if scheme == "replay":
        return None  # a file
    if scheme in {"nats", "tls"}:
        from ingest.sources.log import find_log_problem

        return await find_log_problem(url, ca_file=broker.ca_file)
    from ingest.sources.probe import find_mqtt_problem

    return await find_mqtt_problem(
        url,
        protocol=broker.protocol,
        session_expiry=broker.session_expiry,
        ca_file=broker.ca_file,
    )


async def refuse_unsafe_broker(settings: Settings) -> None:
    """Refuse to read from a broker that would lose messages.

    Raises:
        ConfigError: Why.
    """
    if settings.broker.url is None:
        return
    try:
        problem = await find_unsafe_broker(settings, settings.broker.url.get_secret_value())
    except (OSError, StartError) as error:
        log.warning("the broker could not be looked at; going on", extra={"reason": str(error)})
        return
    if problem:
        raise ConfigError(problem)


def _passwords(settings: Settings) -> Iterator[str]:
    for name, password in _secrets(settings):
        if password.lower() in _WELL_KNOWN:
            yield f"{name} is a password that everybody tries first: choose another"


def _secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every password that the settings hold, by where it stands; those unset are left out."""
    if settings.database.url is not None:
        password = _conninfo(settings.database.url.get_secret_value()).get("password")
        if password is not None:
            yield "the password in database.url", str(password)
    if settings.broker.url is not None:
        for one in settings.broker.url.get_secret_value().split(","):
            if (given := urlsplit(one).password) is not None:
                yield "the password in broker.url", unquote(given)
    if settings.api.token is not None:
        yield "api.token", settings.api.token.get_secret_value()
    if settings.dispatch.secret is not None:
        yield "dispatch.secret", settings.dispatch.secret.get_secret_value()


def _conninfo(url: str) -> dict[str, Any]:
    """Return the parts of a libpq URL; one that makes no sense has none, and connecting says so."""
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        return {}


def _plaintext(settings: Settings) -> Iterator[str]:
    if settings.broker.url is not None:
        for one in settings.broker.url.get_secret_value().split(","):
            parts = urlsplit(one)
            encrypted = {"mqtt": "mqtts", "nats": "tls"}.get(parts.scheme)
            if encrypted and parts.hostname and is_public(parts.hostname):
                yield (
                    f"broker.url goes to {parts.hostname}, a public address, in plain text:"
                    f" write {encrypted}://…"
                )
    if settings.database.url is not None:
        given = _conninfo(settings.database.url.get_secret_value())
        host = str(given.get("hostaddr") or given.get("host") or "")
        if given.get("sslmode") not in _ENCRYPTED_SSLMODES and host and is_public(host):
            yield (
                f"database.url goes to {host}, a public address, and may go in plain text:"
                " add sslmode=verify-full"
            )
    dispatch = urlsplit(settings.dispatch.url or "")
    if dispatch.scheme == "http" and dispatch.hostname and is_public(dispatch.hostname):
        yield (
            f"dispatch.url goes to {dispatch.hostname}, a public address, in plain text:"
            " write https://…"
        )
    if is_public(settings.api.host):
        yield (
            f"api.host {settings.api.host} is a public address, and the page speaks plain HTTP:"
            " listen on 127.0.0.1 behind a proxy that speaks TLS"
        )


def _window(settings: Settings) -> Iterator[str]:
    broker, batch = settings.broker, settings.ingest.batch
    url = broker.url.get_secret_value() if broker.url else ""
    if urlsplit(url).scheme not in {"mqtt", "mqtts"}:
        return
    window = broker.receive_maximum
    if broker.protocol == "3.1.1":
        window = min(window, broker.inflight_limit)
    if batch > window:
        yield (
            f"ingest.batch {batch} is above the window of {window} messages that the broker sends"
            " unacknowledged, so no batch could fill: make the window larger"
            " (broker.receive_maximum; with MQTT 3.1.1 broker.inflight_limit and the same in the"
            f" broker), or set ingest.batch to {window} at most"
        )


def is_public(host: str) -> bool:
    """Tell whether a host has an address of the public internet; one nobody knows has none.

    >>> is_public("127.0.0.1"), is_public("10.1.2.3"), is_public("/run/postgresql")
    (False, False, False)
    >>> is_public("8.8.8.8"), is_public("2001:4860:4860::8888")
    (True, True)
    """
    if host.startswith("/"):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(ipaddress.ip_address(str(at[4][0]).partition("%")[0]).is_global for at in found)
