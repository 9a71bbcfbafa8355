"""Service requests after Open311 GeoReport v2: created, and asked after until they are closed.

GeoReport knows no idempotency key, so the description carries ours: before a request is made a
second time, the server is asked for the one it may have taken without saying so. An answer that
calls it a duplicate counts as delivered.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
import msgspec

from alerts.connectors.wire import excerpt, exchange, judge
from alerts.message import ISSUED, REWORK
from alerts.outbox import Message
from core.clock import Clock
from core.errors import DispatchFailedError, DispatchRefusedError

TAKES: Final = (ISSUED, REWORK)
"""GeoReport can neither withdraw a request nor close it from outside."""

MAX_DESCRIPTION: Final = 4000
"""Letters of a description, as the specification has it."""

TOKEN: Final = "token:"  # noqa: S105 - a prefix, not a password
"""How the number begins of a request whose real one is not known yet."""

_MAX_NUMBER: Final = 200
_CLIENT_ERROR: Final = 400


class Open311:
    """Makes service requests at one endpoint.

    Args:
        client: An open client that follows no redirects; neither opened nor closed here.
        url: The endpoint, before ``/requests.json``.
        api_key: What the server knows us by; None: it asks for none.
        options: ``jurisdiction_id``; ``services``: service code by class code; ``service_code``:
            for every other class.
        timeout_s: How long one exchange may take in all.
        clock: The hub's time.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        *,
        api_key: str | None,
        options: Mapping[str, Any],
        timeout_s: float,
        clock: Clock,
    ) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._api_key = api_key
        self._options = options
        self._timeout_s = timeout_s
        self._clock = clock

    async def deliver(self, message: Message) -> str | None:
        """Make a service request.

        Returns:
            Its ``service_request_id``, or :data:`TOKEN` and its token.

        Raises:
            DispatchFailedError: Not this time.
            DispatchRefusedError: Never.
        """
        if message.attempts > 1:
            known = await self._find(message)
            if known is not None:
                return known
        response, body = await exchange(
            self._client,
            "POST",
            f"{self._url}/requests.json",
            timeout_s=self._timeout_s,
            data=self._form(message),
        )
        if response.status_code == _CLIENT_ERROR and "duplicate" in excerpt(body).lower():
            return await self._find(message)
        judge(response, body, self._clock.now())
        return _number(_records(body))

    async def status(self, number: str) -> tuple[str, str, str] | None:
        """Ask after a request.

        Args:
            number: What :meth:`deliver` returned.

        Returns:
            Its number, its status (``open`` or ``closed``) and the notes on it; None: the server
            knows nothing of it, or has no number for its token yet.

        Raises:
            DispatchFailedError: There was no answer that could be read.
            DispatchRefusedError: The server will not tell.
        """
        if number.startswith(TOKEN):
            records = await self._get(f"tokens/{_segment(number.removeprefix(TOKEN))}.json", {})
            number = str(records[0].get("service_request_id") or "") if records else ""
            if not number:
                return None
        records = await self._get(f"requests/{_segment(number)}.json", {})
        if not records:
            return None
        found = records[0]
        return number, str(found.get("status", "")), str(found.get("status_notes") or "")

    async def _find(self, message: Message) -> str | None:
        """Return the number of a request that the server has under our key already."""
        window = {
            "start_date": _stamp(message.first_tried_at - timedelta(hours=1)),
            "end_date": _stamp(self._clock.now() + timedelta(hours=1)),
        }
        for record in await self._get("requests.json", window):
            if _mark(message) in str(record.get("description", "")):
                return _number([record])
        return None

    async def _get(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        if jurisdiction := self._options.get("jurisdiction_id"):
            query = {**query, "jurisdiction_id": str(jurisdiction)}
        response, body = await exchange(
            self._client,
            "GET",
            f"{self._url}/{path}",
            timeout_s=self._timeout_s,
            params=query,
        )
        if response.status_code == 404:  # noqa: PLR2004
            return []
        judge(response, body, self._clock.now())
        return _records(body)

    def _form(self, message: Message) -> dict[str, str]:
        data = message.payload["data"]
        place, seen = data["place"], data.get("alarm") or {}
        services = self._options.get("services", {})
        code = services.get(data["class_code"], self._options.get("service_code"))
        if code is None:
            raise DispatchRefusedError(
                f"class {data['class_code']} has no service code: name it in options.services"
            )
        mark = _mark(message)
        words = f"{data['description']['zh']}\n{data['description']['en']}"
        form = {
            "service_code": str(code),
            "description": f"{words[: MAX_DESCRIPTION - len(mark) - 1]}\n{mark}",
            "address_string": place["address"] or data["component"]["name"] or data["grid"]["name"],
            "device_id": seen.get("device_id") or "",
            "jurisdiction_id": str(self._options.get("jurisdiction_id") or ""),
            "api_key": self._api_key or "",
        }
        if place["lon"] is not None and place["lat"] is not None:
            form |= {"lat": f"{place['lat']:.6f}", "long": f"{place['lon']:.6f}"}
        return {name: value for name, value in form.items() if value}


def _mark(message: Message) -> str:
    return f"[{message.key}]"


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _segment(number: str) -> str:
    """Return a number as a part of a path, whatever the other side called it."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_~") else f"%{byte}"
        for letter in number
        for byte in (letter.encode().hex("%").upper(),)
    )


def _records(body: bytes) -> list[dict[str, Any]]:
    """Return the records of an answer.

    Raises:
        DispatchFailedError: It is none of GeoReport; whether it was taken, the next attempt asks.
    """
    try:
        return msgspec.json.decode(body, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DispatchFailedError(f"answered what is not GeoReport: {excerpt(body)}") from error


def _number(records: list[dict[str, Any]]) -> str | None:
    first = records[0] if records else {}
    for name, prefix in (("service_request_id", ""), ("token", TOKEN)):
        value = first.get(name)
        if isinstance(value, str | int) and str(value).isprintable() and value != "":
            return f"{prefix}{value}"[:_MAX_NUMBER]
    return None
