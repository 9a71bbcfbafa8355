"""The city-management platform over HTTP: one signed CloudEvent a POST.

Headers follow Standard Webhooks. The same message carries the same id in every attempt, so a
platform that took it and could not say so has it once. What an answer means:

======================================  ===========================================
2xx, 409 (it has it already)            delivered
408, 425, 429, 5xx, 3xx, no answer      tried again; ``Retry-After`` is honoured
any other 4xx                           refused for good: a dead letter
======================================  ===========================================
"""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from core.clock import Clock
from core.errors import DispatchFailedError, DispatchRefusedError

NAME: Final = "webhook"
"""Its name in the outbox."""

MAX_ANSWER: Final = 65_536
"""More bytes of an answer are not read."""

MAX_RETRY_AFTER: Final = timedelta(hours=1)

_DUPLICATE: Final = 409
_TRANSIENT: Final = frozenset({408, 425, 429})
_MAX_EXTERNAL_ID: Final = 200


def sign(secret: str, key: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a delivery after Standard Webhooks.

    >>> sign("secret", "FY-20261121-000001-1", 1795219200, b"{}")
    'v1,W8a8Us12rUWyNFxQ2L1SCZ73QNbDB6W1x261KN7ay4c='
    """
    content = b"%s.%d.%s" % (key.encode(), timestamp, body)
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhook:
    """Delivers messages to one URL.

    Args:
        client: An open client that follows no redirects; neither opened nor closed here.
        url: Where to.
        secret: Key of the signature; None: unsigned.
        timeout_s: How long one exchange may take in all.
        clock: The hub's time.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        *,
        secret: str | None,
        timeout_s: float,
        clock: Clock,
    ) -> None:
        self._client = client
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._clock = clock

    async def deliver(self, key: str, payload: Mapping[str, Any]) -> str | None:
        """Deliver a CloudEvent under its idempotency key.

        Returns:
            The platform's own number for it, if it gave one.

        Raises:
            DispatchFailedError: Not this time.
            DispatchRefusedError: Never.
        """
        event = {"id": key, **payload}
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(
                    "POST", self._url, content=body, headers=self._headers(key, body)
                ) as response,
            ):
                return _judge(response, await _read(response), self._clock.now())
        except TimeoutError as error:
            raise DispatchFailedError(f"no answer within {self._timeout_s:g} s") from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DispatchFailedError(f"no answer: {reason}") from error

    def _headers(self, key: str, body: bytes) -> dict[str, str]:
        timestamp = self._clock.micros() // 1_000_000
        headers = {
            "content-type": "application/cloudevents+json; charset=utf-8",
            "idempotency-key": key,
            "webhook-id": key,
            "webhook-timestamp": str(timestamp),
        }
        if self._secret is not None:
            headers["webhook-signature"] = sign(self._secret, key, timestamp, body)
        return headers


@asynccontextmanager
async def open_webhook(
    url: str, *, secret: str | None, timeout_s: float, clock: Clock
) -> AsyncIterator[Webhook]:
    """Lend a connector; the environment's proxies are not used, nor redirects followed."""
    async with httpx.AsyncClient(
        timeout=timeout_s, follow_redirects=False, trust_env=False
    ) as client:
        yield Webhook(client, url, secret=secret, timeout_s=timeout_s, clock=clock)


async def _read(response: httpx.Response) -> bytes:
    """Return the beginning of the answer; raw, so that nothing inflates on the way."""
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= MAX_ANSWER:
            break
    return body[:MAX_ANSWER]


def _judge(response: httpx.Response, body: bytes, now: datetime) -> str | None:
    status = response.status_code
    if response.is_success or status == _DUPLICATE:
        return _external_id(body)
    error = f"answered {status}: {_excerpt(body)}"
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


def _excerpt(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
