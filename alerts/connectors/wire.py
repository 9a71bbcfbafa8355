"""One exchange over HTTP, and what an answer means: delivered, later, or never."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from alerts.connectors.address import Network, Pinned
from core.errors import DispatchFailedError, DispatchRefusedError

MAX_ANSWER: Final = 65_536
"""More bytes of an answer are not read."""

MAX_RETRY_AFTER: Final = timedelta(hours=1)

_DUPLICATE: Final = 409
_TRANSIENT: Final = frozenset({408, 425, 429})
_MAX_EXTERNAL_ID: Final = 200


@asynccontextmanager
async def open_client(
    timeout_s: float, networks: Sequence[Network]
) -> AsyncIterator[httpx.AsyncClient]:
    """Lend a client that connects to checked addresses only.

    The environment's proxies are not used, nor are redirects followed.
    """
    async with httpx.AsyncClient(
        transport=Pinned(networks), timeout=timeout_s, follow_redirects=False, trust_env=False
    ) as client:
        yield client


async def exchange(
    client: httpx.AsyncClient, method: str, url: str, *, timeout_s: float, **request: Any
) -> tuple[httpx.Response, bytes]:
    """Send a request; return the answer and the beginning of its body.

    Raises:
        DispatchFailedError: There was no answer.
        DispatchRefusedError: It may not be connected to.
    """
    try:
        async with (
            asyncio.timeout(timeout_s),
            client.stream(method, url, **request) as response,
        ):
            return response, await _read(response)
    except TimeoutError as error:
        raise DispatchFailedError(f"no answer within {timeout_s:g} s") from error
    except httpx.InvalidURL as error:
        raise DispatchRefusedError(f"{url} is no URL: {error}") from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise DispatchFailedError(f"no answer: {reason}") from error


async def _read(response: httpx.Response) -> bytes:
    """Return the beginning of the answer; raw, so that nothing inflates on the way."""
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= MAX_ANSWER:
            break
    return body[:MAX_ANSWER]


def judge(response: httpx.Response, body: bytes, now: datetime) -> str | None:
    """Return the receiver's number for what it took, if it gave one.

    Raises:
        DispatchFailedError: Not this time.
        DispatchRefusedError: Never.
    """
    status = response.status_code
    if response.is_success or status == _DUPLICATE:
        return _external_id(body)
    error = f"answered {status}: {excerpt(body)}"
    if status in _TRANSIENT or not response.is_client_error:
        after = _retry_after(response.headers.get("retry-after"), now)
        raise DispatchFailedError(error, retry_after_s=after)
    raise DispatchRefusedError(error)


def _external_id(body: bytes) -> str | None:
    """Return the number the platform gave, from an answer that may be anything."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = answer.get("external_id") if isinstance(answer, dict) else None
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if isinstance(found, str) and found.isprintable() and 0 < len(found) <= _MAX_EXTERNAL_ID:
        return found
    return None


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Return how long to wait by a ``Retry-After`` header: seconds, or a date.

    >>> _retry_after("120", datetime(2026, 1, 1, tzinfo=UTC))
    120.0
    >>> _retry_after("Thu, 01 Jan 2026 00:00:30 GMT", datetime(2026, 1, 1, tzinfo=UTC))
    30.0
    >>> _retry_after("soon", datetime(2026, 1, 1, tzinfo=UTC))
    """
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        wait = float(value[:9])
    else:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        wait = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return min(max(wait, 0.0), MAX_RETRY_AFTER.total_seconds())


def excerpt(body: bytes) -> str:
    """Return the beginning of an answer, fit for one line."""
    text = body[:200].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
