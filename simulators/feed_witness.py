"""A witness of the feed (信息流见证): follows it as a page would, hangs up by chance, and resumes.

It writes down the id of each entry that it saw, a line each, for :mod:`simulators.oracle`: a gap, a
repeat or a reversal there is the feed's. By chance and not by plan, so that in a run of some length
it hangs up at every point of an entry's way.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final, NoReturn

import httpx

_STREAM: Final = "/api/v1/stream"
_GREETINGS: Final = frozenset({"hello", "reset"})  # they carry an id to resume from, and no entry
_SILENT_S: Final = 40.0  # the feed gives a sign of life each quarter of a minute
_PAUSE_S: Final = 0.2


class FeedWitness:
    """Follows the feed of one hub.

    Args:
        url: The hub's API, ``http://host:port``.
        path: Gets the ids.
        token: What the hub wants of programs; None: nothing, on loopback.
        after: The entry to begin behind; None: from now on.
        seed: Of the moments at which it hangs up.
        stays_s: How long it stays on at most, in seconds; half as long on average.
    """

    def __init__(
        self,
        url: str,
        path: Path,
        *,
        token: str | None = None,
        after: int | None = None,
        seed: int = 0,
        stays_s: float = 4.0,
    ) -> None:
        self.url = url
        self.arrived = asyncio.Event()
        self.last = after
        self._path = path
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._chance = random.Random(seed)
        self._stays_s = stays_s

    async def follow(self) -> NoReturn:
        """Write down what comes, for ever; a hub that is away is asked again."""
        limits = httpx.Timeout(10.0, read=_SILENT_S)
        with self._path.open("a", encoding="ascii") as out:
            async with httpx.AsyncClient(
                base_url=self.url, headers=self._headers, timeout=limits, trust_env=False
            ) as client:
                while True:
                    try:
                        async with asyncio.timeout(self._chance.uniform(0.0, self._stays_s)):
                            async with aclosing(self._entries(client)) as entries:
                                async for number in entries:
                                    out.write(f"{number}\n")
                                    out.flush()
                    except TimeoutError:
                        pass
                    except httpx.HTTPError:
                        await asyncio.sleep(_PAUSE_S)

    async def _entries(self, client: httpx.AsyncClient) -> AsyncGenerator[int, None]:
        """Yield the id of each entry of one connection that came whole."""
        headers = {} if self.last is None else {"Last-Event-ID": str(self.last)}
        async with client.stream("GET", _STREAM, headers=headers) as answer:
            answer.raise_for_status()
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value
                    continue
                if "id" in fields:
                    self.last = int(fields["id"])
                    self.arrived.set()
                    if fields.get("event") not in _GREETINGS:
                        yield self.last
                fields = {}
