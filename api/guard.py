"""What every request must pass before a route sees it, and what every answer carries.

Against DNS rebinding: the Host must be a name we answer to. Against forged requests from other
sites: a request that changes something must come from our own page or from no page at all. Against
floods: a body of at most 1 MiB, sent within 20 s. Against scripts smuggled into a page: a strict
Content-Security-Policy on everything.
"""

import asyncio
import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, as_problem, problem_response
from core.model import Text

BODY_LIMIT: Final = 1 << 20
BODY_S: Final = 20.0
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " connect-src 'self'; worker-src 'self'; manifest-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""The policy of the command centre's page: its own scripts, and no other host."""

HEADERS: Final = {
    # No script may run anywhere. Styles come from our own file, pictures from us.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Nothing is told to other sites. Not 'no-referrer': under that, browsers send our own forms
    # with "Origin: null", and the check of the origin below could not tell ours from foreign ones.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: What it guards.
        hosts: The names we answer to, besides loopback's.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = LOOPBACK_NAMES | {host.lower().strip("[]") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        problem = (
            self._wrong_host(scope, headers)
            or _foreign_origin(scope, headers)
            or _too_long(headers)
        )
        if problem is not None:
            await problem_response(problem)(scope, receive, send_guarded)
            return
        await self._app(scope, _Bounded(receive), send_guarded)

    def _wrong_host(self, scope: Scope, headers: Headers) -> Problem | None:
        host = _host_name(headers.get("host", ""))
        # Our end of this very connection is no name that a foreign page could have rebound.
        ours = (scope.get("server") or ("",))[0]
        if host is not None and (host in self._hosts or (_is_address(host) and host == ours)):
            return None
        return Problem(
            421,
            "host",
            Text("本服务不以此主机名应答；请在设置 api.public_hosts 中加入它。",
                 "The hub does not answer to this host name; add it to api.public_hosts."),
        )  # fmt: skip


class _Bounded:
    """A request body of bounded size and time."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = BODY_LIMIT
        self._until: float | None = None
        self._done = False

    async def __call__(self) -> Message:
        if self._done:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._until = self._until or loop.time() + BODY_S
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, headers={"Connection": "close"}) from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, headers={"Connection": "close"})
        self._done = not message.get("more_body", False)
        return message


def _too_long(headers: Headers) -> Problem | None:
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) <= BODY_LIMIT:
        return None
    return as_problem(HTTPException(413, headers={"Connection": "close"}))


def _foreign_origin(scope: Scope, headers: Headers) -> Problem | None:
    """Refuse a change that another site's page asks for.

    Browsers say where a request comes from; programs such as curl say nothing and pass: they hold
    no cookie of anybody's.
    """
    if scope["method"] in _SAFE:
        return None
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        fine = site in {"same-origin", "none"}
    else:
        fine = origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    if fine:
        return None
    return Problem(
        403,
        "foreign_origin",
        Text("拒绝来自其他网站的操作。", "An action from another site's page is refused."),
    )


def _host_name(host: str) -> str | None:
    """Return the name in a Host header, without the port.

    >>> _host_name("[::1]:8080"), _host_name("LOCALHOST:80"), _host_name("a b")
    ('::1', 'localhost', None)
    """
    if not host or any(c in host for c in "/@\\ ,"):
        return None
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
