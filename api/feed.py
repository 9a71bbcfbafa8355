"""The live feed: the event log as Server-Sent Events, resumed without a gap or a repeat.

The id of an event is its number in the log, a bigint of the database, so any process can go on
where another stopped. One tailer a process reads ``event_id > position`` when NOTIFY nudges it, and
each second in any case, into one bounded ring that all clients share. A client is only a position:
what the ring no longer holds it reads from the log again, so a slow one costs nothing and loses
nothing, and a stalled one is cut by the server's write timeout (:mod:`api.serve`).

After each stretch of entries comes ``rows``: the alarms, incidents and cases it touched, as they
stand now. Once a second come ``stats`` and ``pos``, which a newer one replaces: they have no id,
and a client that is behind gets the newest only.
"""

import asyncio
import json
import logging
import re
from bisect import bisect_right
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from api.reads.touched import read_touched
from api.reads.vitals import Vitals, read_moved, read_vitals
from api.store import TENANT, Row, look
from core.clock import Clock
from core.db import Pool, listen
from core.errors import StoreUnavailableError
from core.metrics import FEED_CLIENTS

log = logging.getLogger(__name__)

MOST_CLIENTS: Final = 1_000
RING: Final = 2_000
PAGE: Final = 500
BATCH_S: Final = 0.1
PING_S: Final = 15.0
STATS_S: Final = 1.0
RETRY_MS: Final = 1_000

_COLUMNS: Final = (
    "event_id", "log", "at", "actor", "object", "object_id", "action", "from_state", "to_state",
    "reason", "detail",
)  # fmt: skip
_AFTER: Final = """
SELECT event_id, log, at, actor, object, object_id, action, from_state, to_state, reason, detail
  FROM hub.event_log
 WHERE event_id > %s AND tenant_id = %s
 ORDER BY event_id
 LIMIT %s
"""
_BOUNDS: Final = """
SELECT (SELECT coalesce(max(event_id), 0) FROM hub.event_head) AS newest, first.event_id AS oldest,
       first.prev_hash = '' AS whole
  FROM (SELECT 1) AS one
  LEFT JOIN (SELECT event_id, prev_hash FROM hub.event_log ORDER BY event_id LIMIT 1) AS first
         ON true
"""
_BREAKS: Final = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
"""Line breaks to some clients, though not to the standard: they must not cut an event in two."""
_NAME: Final = re.compile(r"[a-z][a-z_]{0,30}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the log holds.

    Attributes:
        newest: The last id given out, 0 if none was.
        oldest: The first id still there, None if none is.
        whole: Nothing was ever removed: ``oldest`` begins the chain of hashes.
    """

    newest: int
    oldest: int | None
    whole: bool

    def refuse(self, cursor: int | None) -> str | None:
        """Return why the log cannot go on from a cursor, None if it can.

        >>> Bounds(newest=9, oldest=5, whole=False).refuse(3)
        'older_than_log'
        >>> Bounds(newest=9, oldest=5, whole=False).refuse(4) is None
        True
        """
        if cursor is None:
            return None
        if cursor > self.newest or cursor < 0:
            return "unknown_id"
        horizon = 0 if self.whole else self.newest if self.oldest is None else self.oldest - 1
        return "older_than_log" if cursor < horizon else None


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it goes over the wire, encoded once for all clients."""

    event_id: int
    data: bytes


class Feed:
    """The feed of one process.

    Args:
        pool: Where the log is read.
        url: Where notifications come from.
        clock: What time it is.
        zone: The city's time, which says when a day begins.
    """

    def __init__(self, pool: Pool, url: str, clock: Clock, zone: ZoneInfo) -> None:
        self._pool = pool
        self._url = url
        self._clock = clock
        self._zone = zone
        self._told = 0  # counts the rounds of figures
        self._vitals = b""
        self._moved = b""
        self._ring: list[Frame] = []
        self._floor = 0  # the ring holds all that comes after this id
        self._position: int | None = None
        self._grown = asyncio.Event()
        self._closed = False
        self._clients = 0

    async def run(self) -> None:
        """Tail the log for ever."""
        async for _ in listen(self._url, "hub_event"):
            try:
                while await self._advance():
                    pass
            except StoreUnavailableError as error:
                log.warning("the feed waits for the database", extra={"reason": str(error)})

    async def tell(self) -> None:
        """Renew the figures and positions for ever, while anybody listens."""
        since = self._clock.now()
        while not self._closed:
            await asyncio.sleep(STATS_S)
            if not self._clients:
                since = self._clock.now()
                continue
            try:
                since = await self._renew(since)
            except StoreUnavailableError as error:
                log.warning("no figures: the database is away", extra={"reason": str(error)})

    async def _renew(self, since: datetime) -> datetime:
        now = self._clock.now()
        async with look(self._pool) as lent:
            vitals = Vitals.model_validate(await read_vitals(lent, self._zone, now))
            moved = await read_moved(lent, since - timedelta(seconds=1))
        self._vitals = _unnumbered("stats", vitals.model_dump_json())
        self._moved = _unnumbered("pos", json.dumps(moved, separators=(",", ":"))) if moved else b""
        self._told += 1
        self._wake()
        return now

    def close(self) -> None:
        """End all streams, so that a server can stop; clients come back with their last id."""
        self._closed = True
        self._wake()

    @property
    def full(self) -> bool:
        """Whether there is no room for another client."""
        return self._clients >= MOST_CLIENTS

    async def bounds(self) -> Bounds:
        """Return what the log holds now."""
        async with look(self._pool) as lent:
            row = await lent.row(_BOUNDS)
        assert row is not None  # noqa: S101 - the query always gives one row
        return Bounds(row["newest"], row["oldest"], bool(row["whole"]))

    async def follow(self, cursor: int | None, bounds: Bounds) -> AsyncIterator[bytes]:
        """Yield the stream of one client, until the feed is closed.

        Args:
            cursor: The last id the client has; None: from now on.
            bounds: What the log held when it asked.
        """
        self._clients += 1
        FEED_CLIENTS.inc()
        try:
            reason = bounds.refuse(cursor)
            position = bounds.newest if cursor is None or reason else cursor
            yield f"retry: {RETRY_MS}\n".encode() + _greeting(position, reason) + self._vitals
            told = self._told
            while not self._closed:
                grown = self._grown
                frames = await self._after(position)
                if frames or told != self._told:
                    position = frames[-1].event_id if frames else position
                    figures = self._vitals + self._moved if told != self._told else b""
                    told = self._told
                    yield b"".join(frame.data for frame in frames) + figures
                    if frames:
                        await asyncio.sleep(BATCH_S)
                    continue
                try:
                    async with asyncio.timeout(PING_S):
                        await grown.wait()
                except TimeoutError:
                    yield b": ping\n\n"
        finally:
            self._clients -= 1
            FEED_CLIENTS.dec()

    async def _advance(self) -> bool:
        """Read what is new into the ring; True if there may be more."""
        if self._position is None:
            self._position = self._floor = (await self.bounds()).newest
            self._wake()
            return False
        frames = await self._read(self._position)
        if not frames:
            return False
        self._position = frames[-1].event_id
        self._ring.extend(frames)
        if (excess := len(self._ring) - RING) > 0:
            self._floor = self._ring[excess - 1].event_id
            del self._ring[:excess]
        self._wake()
        return len(frames) == PAGE

    async def _after(self, position: int) -> list[Frame]:
        """Return the next frames after a position: from the ring, or from the log if too old."""
        if self._position is None:
            return []
        if position >= self._floor:
            start = bisect_right(self._ring, position, key=lambda frame: frame.event_id)
            return self._ring[start : start + PAGE]
        while not self._closed:
            try:
                return await self._read(position)
            except StoreUnavailableError:
                await asyncio.sleep(RETRY_MS / 1000)
        return []

    async def _read(self, position: int) -> list[Frame]:
        async with look(self._pool) as lent:
            entries = await lent.rows(_AFTER, [position, TENANT, PAGE])
            touched = await read_touched(lent, entries) if entries else None
        frames = [Frame(entry["event_id"], encode_event(entry)) for entry in entries]
        if touched is not None:
            rows = _unnumbered("rows", touched.model_dump_json())
            frames[-1] = Frame(frames[-1].event_id, frames[-1].data + rows)
        return frames

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _unnumbered(name: str, data: str) -> bytes:
    """Return an event that a client does not resume from."""
    return f"event: {name}\ndata: {data.translate(_BREAKS)}\n\n".encode()


def encode_event(row: Row) -> bytes:
    """Return one entry of the log as a Server-Sent Event."""
    name = row["object"] if _NAME.fullmatch(row["object"]) else "event"
    entry = {column: row[column] for column in _COLUMNS}
    entry["at"] = row["at"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    data = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    data = data.translate(_BREAKS)
    return f"id: {row['event_id']}\nevent: {name}\ndata: {data}\n\n".encode()


def _greeting(position: int, reason: str | None) -> bytes:
    """Return the first event: an id to resume from even for a client that hears no more."""
    if reason is None:
        return f'id: {position}\nevent: hello\ndata: {{"cursor":{position}}}\n\n'.encode()
    data = f'{{"cursor":{position},"reason":"{reason}"}}'
    return f"id: {position}\nevent: reset\ndata: {data}\n\n".encode()
