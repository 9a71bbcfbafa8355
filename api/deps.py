"""What the routes share, lent to each by FastAPI: the hub's parts, a look, versions, keys."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Header, Request

from api.actions import Actions
from api.auth import Gate
from api.bench import Bench
from api.callbacks import Callbacks
from api.feed import Feed
from api.problems import Problem
from api.store import Look, look
from core.clock import Clock
from core.db import Pool
from core.model import Text
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application was made of."""

    pool: Pool
    settings: Settings
    clock: Clock
    actions: Actions
    feed: Feed
    gate: Gate
    bench: Bench | None = None
    callbacks: Callbacks | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The city's time zone."""
        return ZoneInfo(self.settings.city.time_zone)

    @property
    def quarantine(self) -> Bench:
        """The quarantine bench.

        Raises:
            Problem: 503, this program was started without one.
        """
        if self.bench is None:
            raise Problem(
                503,
                "no_bench",
                Text("本服务未启用隔离台。", "This server runs without the quarantine bench."),
            )
        return self.bench


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Hub = Annotated[Parts, Depends(_parts)]


async def _looking(hub: Hub) -> AsyncIterator[Look]:
    async with look(hub.pool) as lent:
        yield lent


Looking = Annotated[Look, Depends(_looking)]
"""A look at the tables that ends with the request."""


def _version(
    if_match: Annotated[
        str | None,
        Header(max_length=40, description="The `version` you saw; another one answers 409."),
    ] = None,
) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    digits = if_match.strip().removeprefix("W/").strip('"')
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10):  # noqa: PLR2004 - int4
        raise Problem(
            400,
            "bad_version",
            Text('If-Match 应为版本号，如 "3"。', 'If-Match must be a version such as "3".'),
        )
    return int(digits)


Version = Annotated[int | None, Depends(_version)]
"""The version a caller saw, from ``If-Match``; None: whatever it is now."""

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=8,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key again gets the same answer, and acts once.",
    ),
]
"""A caller's key for a POST that may be sent twice."""
