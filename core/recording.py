"""Recorded traffic (录制): a file of messages, appended in blocks, read again in order.

A block holds some hundred messages, zlib-compressed, behind a head with its length, its checksum,
how many messages it holds and from when to when. So the heads alone are an index by number and by
time: a reader hops over what it does not want. Whatever a crash left at the end, half a block or a
block that was never written through, is not there for a reader, and is cut off by the next writer.

One file, one writer. ``simulators`` records and plays, ``ingest`` reads it as a source; the two may
not import one another, hence it lives here.
"""

import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from core.errors import ConfigError

MAGIC: Final = b"cityhub recording 1\n"
_MARK: Final = 0x52424843  # "CHBR": begins each block
_HEAD: Final = struct.Struct("<IIIIqq")  # mark, length, CRC-32, messages, first and last time
_ENTRY: Final = struct.Struct("<qBHHI")  # time, flags, lengths of topic, content type, payload
_BLOCK_BYTES: Final = 1 << 18
_BLOCK_MESSAGES: Final = 4_096
_QOS: Final = 0b011
_RETAIN: Final = 0b100


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message as it was on the wire.

    Attributes:
        at: When it was taken off the wire, microseconds UTC.
        topic: UTF-8 bytes, ``/`` between levels.
        payload: Its bytes.
        qos: 0, 1 or 2.
        retain: The broker keeps it for later subscribers.
        content_type: MQTT 5 content type; empty: none.
    """

    at: int
    topic: bytes
    payload: bytes
    qos: int = 1
    retain: bool = False
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block lies, and what it holds.

    Attributes:
        at: Offset of its head in the file.
        length: Of its compressed bytes.
        crc: CRC-32 of them.
        before: Messages of the file before it.
        count: Messages in it.
        first: Time of the earliest, microseconds UTC.
        last: Time of the latest.
    """

    at: int
    length: int
    crc: int
    before: int
    count: int
    first: int
    last: int

    @property
    def end(self) -> int:
        """Where the next block begins."""
        return self.at + _HEAD.size + self.length


class Recording:
    """Reads a recording, also one that still grows.

    Args:
        path: The file.

    Raises:
        ConfigError: There is none, or it is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blocks: list[Block] = []
        try:
            with path.open("rb") as file:
                if not MAGIC.startswith(file.read(len(MAGIC))):  # a writer may just begin
                    raise ConfigError(f"{path} is no recording of cityhub")
        except OSError as error:
            raise ConfigError(f"cannot read the recording {path}: {error.strerror}") from error
        self.refresh()

    def __len__(self) -> int:
        """Return how many messages there are."""
        return self.blocks[-1].before + self.blocks[-1].count if self.blocks else 0

    @property
    def first(self) -> int | None:
        """Time of the earliest message, microseconds UTC; None: there is none."""
        return min((block.first for block in self.blocks), default=None)

    @property
    def last(self) -> int | None:
        """Time of the latest message."""
        return max((block.last for block in self.blocks), default=None)

    def refresh(self) -> int:
        """Look for blocks that were appended; return how many messages there are now."""
        with self.path.open("rb") as file:
            self.blocks += _scan(file, self.blocks[-1] if self.blocks else None)
        return len(self)

    def read(self, after: int = 0, *, since: int | None = None) -> Iterator[Recorded]:
        """Yield messages in the order in which they were recorded.

        Args:
            after: Skip so many messages.
            since: Skip what was recorded before this time, microseconds UTC.

        Raises:
            ConfigError: A block in the midst of the file is damaged.
        """
        for number in range(self._block_behind(after), len(self.blocks)):
            if since is None or self.blocks[number].last >= since:
                for message in self._messages(self.blocks[number], after):
                    if since is None or message.at >= since:
                        yield message

    def some(self, after: int) -> list[Recorded]:
        """Return the messages behind so many, to the end of their block; empty at the end.

        Raises:
            ConfigError: The block is damaged.
        """
        number = self._block_behind(after)
        return self._messages(self.blocks[number], after) if number < len(self.blocks) else []

    def _block_behind(self, after: int) -> int:
        return bisect_right(self.blocks, after, key=lambda block: block.before + block.count)

    def _messages(self, block: Block, after: int) -> list[Recorded]:
        with self.path.open("rb") as file:
            body = _load(file, block)
        if body is None:
            raise ConfigError(f"the recording {self.path} is damaged at byte {block.at}")
        return list(_entries(body))[max(0, after - block.before) :]


class RecordingWriter:
    """Appends to a recording; a torn end is cut off first.

    Args:
        path: The file; made where it is missing.

    Raises:
        ConfigError: It is something else, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._entries: list[bytes] = []
        self._size = 0
        self._first = self._last = 0
        try:
            self._file: BinaryIO = path.open("r+b" if path.exists() else "x+b")
        except OSError as error:
            raise ConfigError(f"cannot write the recording {path}: {error.strerror}") from error
        try:
            self._begin()
        except BaseException:
            self._file.close()
            raise

    def _begin(self) -> None:
        head = self._file.read(len(MAGIC))
        if MAGIC.startswith(head) and head != MAGIC:  # new, or torn in its very first line
            self._file.seek(0)
            self._file.truncate()
            self._file.write(MAGIC)
            self._file.flush()
            return
        if head != MAGIC:
            raise ConfigError(f"{self.path} is no recording of cityhub")
        blocks = _scan(self._file, None)
        self.count = sum(block.count for block in blocks)
        end = blocks[-1].end if blocks else len(MAGIC)
        self._file.seek(end)
        self._file.truncate()

    def append(self, message: Recorded) -> None:
        """Add a message; it is on disk after :meth:`flush`, or with its full block."""
        kind = message.content_type.encode()
        flags = message.qos & _QOS | (_RETAIN if message.retain else 0)
        head = _ENTRY.pack(message.at, flags, len(message.topic), len(kind), len(message.payload))
        if not self._entries:
            self._first = self._last = message.at
        self._first, self._last = min(self._first, message.at), max(self._last, message.at)
        self._entries += (head, message.topic, kind, message.payload)
        self._size += len(head) + len(message.topic) + len(kind) + len(message.payload)
        self.count += 1
        if self._size >= _BLOCK_BYTES or len(self._entries) >= 4 * _BLOCK_MESSAGES:
            self.flush()

    def flush(self) -> None:
        """Write what was added through to the disk."""
        if self._entries:
            body = zlib.compress(b"".join(self._entries))
            messages = len(self._entries) // 4
            head = _HEAD.pack(_MARK, len(body), zlib.crc32(body), messages, self._first, self._last)
            self._file.write(head + body)
            self._entries.clear()
            self._size = 0
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write the rest, and end."""
        try:
            self.flush()
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _scan(file: BinaryIO, behind: Block | None) -> list[Block]:
    """Return the whole blocks behind one, by their heads; the last one's bytes are verified."""
    at = behind.end if behind else len(MAGIC)
    before = behind.before + behind.count if behind else 0
    size = file.seek(0, os.SEEK_END)
    found: list[Block] = []
    while at + _HEAD.size <= size:
        file.seek(at)
        mark, length, crc, count, first, last = _HEAD.unpack(file.read(_HEAD.size))
        block = Block(at, length, crc, before, count, first, last)
        if mark != _MARK or block.end > size:
            break
        found.append(block)
        at, before = block.end, before + count
    if found and _load(file, found[-1]) is None:
        found.pop()  # written, but not through
    return found


def _load(file: BinaryIO, block: Block) -> bytes | None:
    """Return a block's bytes, or None where they are not what was written."""
    file.seek(block.at + _HEAD.size)
    body = file.read(block.length)
    if len(body) != block.length or zlib.crc32(body) != block.crc:
        return None
    return zlib.decompress(body)


def _entries(body: bytes) -> Iterator[Recorded]:
    at = 0
    while at < len(body):
        when, flags, topic, kind, payload = _ENTRY.unpack_from(body, at)
        a = at + _ENTRY.size
        b, c, at = a + topic, a + topic + kind, a + topic + kind + payload
        yield Recorded(
            when, body[a:b], body[c:at], flags & _QOS, bool(flags & _RETAIN), body[b:c].decode()
        )
