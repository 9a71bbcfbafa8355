"""Who is calling: nobody needs to log in on loopback, everybody does elsewhere.

One token is what staff and programs share until accounts come. A program sends it as a bearer
token; a person types it once on ``/lite`` and gets a signed cookie for one shift, which holds the
name they gave and dies with the token. Five wrong tries lock an address for a quarter of an hour.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import Request

from api.problems import Problem
from core.clock import Clock
from core.errors import ConfigError
from core.model import Text
from core.settings import Api, Settings

log = logging.getLogger(__name__)

SESSION_COOKIE: Final = "cityhub_session"
SESSION_S: Final = 12 * 3600
LEAST_TOKEN: Final = 16
MOST_FAILURES: Final = 5
LOCKED_S: Final = 15 * 60
_MOST_ADDRESSES: Final = 10_000
_MOST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling.

    Attributes:
        name: What the event log calls them.
        via: How we know.
    """

    name: str
    via: Literal["loopback", "token", "session"]


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost")
    (True, True, True)
    >>> is_loopback("0.0.0.0"), is_loopback("hub.example")
    (False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_binding(settings: Settings) -> None:
    """Refuse to be reachable from other machines without a login.

    Raises:
        ConfigError: ``api.host`` is not loopback, and ``api.token`` is missing or short.
    """
    host, token = settings.api.host, settings.api.token
    if is_loopback(host) and token is None:
        return
    if token is None:
        raise ConfigError(
            f"api.host {host} can be reached from other machines, so it needs a login: set"
            f" api.token to at least {LEAST_TOKEN} characters, or listen on 127.0.0.1"
        )
    if len(token.get_secret_value()) < LEAST_TOKEN:
        raise ConfigError(
            f"api.token is too short to keep anybody out: make it at least {LEAST_TOKEN}"
            " characters, such as the output of: openssl rand -hex 16"
        )


class Gate:
    """Tells who is calling.

    Args:
        settings: The API's settings.
        clock: What time it is, for sessions and locks.
    """

    def __init__(self, settings: Api, clock: Clock) -> None:
        self._token = settings.token.get_secret_value() if settings.token else None
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()

    @property
    def wants_login(self) -> bool:
        """Whether anybody must log in at all."""
        return self._token is not None

    def identify(self, request: Request) -> Identity | None:
        """Return who is calling, None if nobody we know.

        Raises:
            Problem: 429, too many wrong tokens from this address.
        """
        if self._token is None:
            return Identity("local", "loopback")
        name = self._session_name(request.cookies.get(SESSION_COOKIE, ""))
        if name is not None:
            return Identity(name, "session")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        return Identity("api", "token") if self.admit(address_of(request), given.strip()) else None

    def admit(self, address: str, given: str) -> bool:
        """Compare a token in constant time, and count the wrong ones of an address.

        The right one always enters: many may share an address behind a proxy, and somebody's wrong
        tokens must not keep the shift out. A lock only stops the guessing.

        Raises:
            Problem: 429, the token is wrong and the address is locked.
        """
        if hmac.compare_digest(_digest(given), _digest(self._token or secrets.token_hex())):
            return True
        count, until = self._failures.get(address, (0, 0))
        now = self._clock.micros()
        if count >= MOST_FAILURES and now < until:
            wait = (until - now) // 1_000_000 + 1
            raise Problem(
                429,
                "locked",
                Text(f"登录失败过多，请在 {wait} 秒后再试。",
                     f"Too many wrong tokens; try again in {wait} s."),
                headers={"Retry-After": str(wait)},
            )  # fmt: skip
        count = 1 if now >= until else count + 1
        self._failures[address] = (count, now + LOCKED_S * 1_000_000)
        log.warning("wrong token", extra={"client": address, "failures": count})
        self._failures.move_to_end(address)
        while len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)
        return False

    def open_session(self, name: str) -> str:
        """Return the cookie of a person who has logged in."""
        claims = {
            "name": name[:_MOST_NAME],
            "until": self._clock.micros() + SESSION_S * 1_000_000,
            "nonce": secrets.token_hex(8),
        }
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
        return f"{body}.{self._sign(body)}"

    def _session_name(self, cookie: str) -> str | None:
        body, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return None
        try:
            claims = json.loads(base64.urlsafe_b64decode(body))
        except (ValueError, binascii.Error):
            return None
        return str(claims["name"]) if self._clock.micros() < claims["until"] else None

    def _sign(self, body: str) -> str:
        key = _digest(f"cityhub session\0{self._token}")
        return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


def address_of(request: Request) -> str:
    """Return the address of the caller, as the connection has it."""
    return request.client.host if request.client else ""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
