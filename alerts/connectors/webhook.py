"""A receiver over HTTP: one signed message a POST, in the form it wants.

Headers follow Standard Webhooks. The same message carries the same id in every attempt, so a
platform that took it and could not say so has it once. What an answer means:

======================================  ===========================================
2xx, 409 (it has it already)            delivered
408, 425, 429, 5xx, 3xx, no answer      tried again; ``Retry-After`` is honoured
any other 4xx                           refused for good: a dead letter
======================================  ===========================================
"""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from alerts.connectors.address import EVERYWHERE, Network
from alerts.connectors.forms import Body, Render, cloudevent
from alerts.connectors.wire import exchange, judge, open_client
from alerts.outbox import Message
from core.clock import Clock

NAME: Final = "webhook"
"""Its name in the outbox."""


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
        render: The form of a message.
        options: The receiver's, for the form.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        *,
        secret: str | None,
        timeout_s: float,
        clock: Clock,
        render: Render = cloudevent,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._render = render
        self._options = options or {}
        self._client = client
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._clock = clock

    async def deliver(self, message: Message) -> str | None:
        """Deliver a message under its idempotency key.

        Returns:
            The platform's own number for it, if it gave one.

        Raises:
            DispatchFailedError: Not this time.
            DispatchRefusedError: Never.
        """
        body = self._render(message, self._options)
        if body is None:
            return None
        response, answer = await exchange(
            self._client,
            "POST",
            self._url,
            timeout_s=self._timeout_s,
            content=body.content,
            headers=self._headers(message.key, body),
        )
        return judge(response, answer, self._clock.now())

    def _headers(self, key: str, body: Body) -> dict[str, str]:
        timestamp = self._clock.micros() // 1_000_000
        headers = {
            "content-type": body.media_type,
            "idempotency-key": key,
            "webhook-id": key,
            "webhook-timestamp": str(timestamp),
        }
        if self._secret is not None:
            headers["webhook-signature"] = sign(self._secret, key, timestamp, body.content)
        return headers


@asynccontextmanager
async def open_webhook(
    url: str,
    *,
    secret: str | None,
    timeout_s: float,
    clock: Clock,
    render: Render = cloudevent,
    options: Mapping[str, Any] | None = None,
    networks: Sequence[Network] = EVERYWHERE,
) -> AsyncIterator[Webhook]:
    """Lend a connector.

    Args:
        url: Where to.
        secret: Key of the signature; None: unsigned.
        timeout_s: How long one exchange may take in all.
        clock: The hub's time.
        render: The form of a message.
        options: The receiver's, for the form.
        networks: Where it may connect to beside public addresses.
    """
    async with open_client(timeout_s, networks) as client:
        yield Webhook(
            client,
            url,
            secret=secret,
            timeout_s=timeout_s,
            clock=clock,
            render=render,
            options=options,
        )
