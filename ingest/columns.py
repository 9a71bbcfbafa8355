"""Messages of one kind as columns: the fast path, made from the kind.

Nearly all telemetry is one flat object of known numbers. One msgspec call reads it, one more writes
the numbers of a whole batch as MessagePack, where each float stands at a fixed distance, so these
bytes are a matrix; everything that follows is vectorised. What msgspec refuses goes the exact path
(:mod:`ingest.envelopes.native`), which gives the precise reason.

msgspec cannot see a key that stands twice, nor tell a missing key from ``null``. So a missing field
is *infinity*, which no JSON number can be, and ``null`` is NaN. In a flat object without texts each
key has exactly one colon: where the colons of the payload are not as many as the fields that are
there, a key stood twice, and that message too goes the exact path. No message has fewer colons than
fields, so where a whole batch has as many as fields, each of its messages has; only where it has
more are they counted one by one.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from operator import itemgetter
from typing import Annotated, Any, Final, TypeVar

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from core.batch import Batch
from core.model import Quality
from devices.kind import DeviceKind
from ingest.envelopes.native import Record, is_switch
from ingest.rows import Rows, extra_texts
from ingest.times import TimeRules, believe, lateness_of

_MISSING: Final = float("inf")
_NULL: Final = float("nan")
_HEAD: Final = ("t", "seq", "h", "q")  # then the metrics
_COLON: Final = ord(":")
_EXACT_INT: Final = 2**53  # the matrix is float64
_LATEST_MS: Final = 10**15
_DOUBLE: Final = np.dtype(">f8")
_SHORT: Final = 15  # elements of an array whose length stands in its first byte
_MIDDLE: Final = (1 << 16) - 1
_LARGEST_REAL: Final = float(np.finfo(np.float32).max)

T = TypeVar("T")

# Floats, so that each takes the same room; whole they must be, which :meth:`Columns._verify` sees.
Time = Annotated[float, msgspec.Meta(ge=0, le=_LATEST_MS)]
Counter = Annotated[float, msgspec.Meta(ge=0, lt=_EXACT_INT)]
Exact = Callable[[int], Record | None]
"""Reads message ``i`` the exact way; None: it went to quarantine."""


@dataclass(frozen=True, slots=True)
class Odd:
    """What the matrix cannot hold of a row that came the exact way."""

    ts: int | None
    seq: int | None
    unknown: dict[str, Any]


@dataclass(slots=True)
class Heap:
    """What has been gathered of one kind for the batch at hand.

    Attributes:
        records: Those that msgspec read, then those of the exact path.
        message: Index of the message of each; of the exact ones only after :meth:`settle`.
        device_no: Who sent each; likewise.
        odd: What the matrix cannot hold, by record.
    """

    records: list[Any] = field(default_factory=list)
    message: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    device_no: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    odd: dict[int, Odd] = field(default_factory=dict)
    _later: list[tuple[int, int]] = field(default_factory=list)

    def add(self, record: Any, odd: Odd, device_no: int, message: int) -> None:
        """Add a record that came the exact way."""
        self.odd[len(self.records)] = odd
        self.records.append(record)
        self._later.append((message, device_no))

    def settle(self) -> None:
        """Put records that came the exact way in the order of their messages."""
        if not self._later:
            return
        later = np.array(self._later)
        message = np.concatenate([self.message, later[:, 0]])
        order = np.argsort(message, kind="stable")
        self.message = message[order]
        self.device_no = np.concatenate([self.device_no, later[:, 1]])[order].astype(np.int32)
        self.records = [self.records[row] for row in order.tolist()]
        now_at = np.argsort(order)
        self.odd = {int(now_at[row]): odd for row, odd in self.odd.items()}
        self._later.clear()


class Columns:
    """Decoder and column maker of one kind.

    Args:
        kind: Which.
        rules: Which times are believed.
    """

    def __init__(self, kind: DeviceKind, rules: TimeRules) -> None:
        self.kind = kind
        self._rules = rules
        self._lateness = lateness_of(kind)
        metrics = kind.reals + kind.exacts
        self._struct = msgspec.defstruct(
            f"{kind.name}_record",
            [
                ("t", Time, _MISSING),
                ("seq", Counter, _MISSING),
                ("h", bool, _MISSING),
                ("q", Counter, _MISSING),
                *(
                    (m.name, float | bool | None if is_switch(m) else float | None, _MISSING)
                    for m in metrics
                ),
            ],
            forbid_unknown_fields=True,
            gc=False,
        )
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(self._struct).decode
        """Reads a payload of exactly known keys; raises ``msgspec.MsgspecError`` on any other."""
        names = [*_HEAD, *(metric.name for metric in metrics)]
        self._pack = struct.Struct(f"{len(names)}d").pack
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._buffer = bytearray()  # kept: fresh memory would cost as much again
        self._packed = _packed(names)
        self._low = np.array([[metric.low] for metric in metrics])
        self._high = np.array([[metric.high] for metric in metrics])

    def keep(self, heap: Heap, record: Record, device_no: int, message: int) -> None:
        """Add a record that came the exact way."""
        heap.add(self._rebuild(record), _odd(record), device_no, message)

    def finish(
        self,
        heap: Heap,
        payloads: Sequence[bytes],
        received_at: Sequence[int],
        exact: Exact,
        now: int,
    ) -> Rows:
        """Make columns of what was gathered.

        Args:
            heap: What was gathered.
            payloads: Of the whole batch of messages.
            received_at: Likewise, microseconds UTC.
            exact: Reads a suspicious message again.
            now: The hub's time, microseconds UTC.
        """
        matrix, message, device_no = self._matrix(heap.records), heap.message, heap.device_no
        odd, kept = self._verify(matrix, heap, payloads, exact)
        if kept is not None:
            matrix, message, device_no = matrix[:, kept], message[kept], device_no[kept]
            now_at = {old: new for new, old in enumerate(kept.tolist())}
            odd = {now_at[row]: record for row, record in odd.items()}
        rx = np.array(received_at, np.int64)[message]
        return self._assemble(matrix, odd, device_no=device_no, message=message, rx=rx, now=now)

    def _matrix(self, records: Sequence[Any]) -> NDArray[np.float64]:
        """Return ``(fields, n)`` all numbers; ``null`` is NaN.

        Ten times as fast as an array of tuples: no number becomes a Python object again.
        """
        data, packed = self._buffer, self._packed
        self._encode(records, data)
        start = _array_head(len(records))
        if len(data) != start + len(records) * packed.itemsize:  # a null or a switch somewhere
            return self._matrix_of_odd(records)
        rows = np.frombuffer(data, packed, len(records), start)
        matrix = np.empty((len(packed.names or ()), len(records)))
        for column, name in zip(matrix, packed.names or (), strict=True):
            column[:] = rows[name]
        return matrix

    def _matrix_of_odd(self, records: Sequence[Any]) -> NDArray[np.float64]:
        try:
            packed = b"".join(starmap(self._pack, map(astuple, records)))
        except struct.error:  # a null somewhere
            packed = b"".join(self._pack(*map(_number, astuple(record))) for record in records)
        return np.ascontiguousarray(np.frombuffer(packed).reshape(len(records), -1).T)

    def _verify(
        self, matrix: NDArray[np.float64], heap: Heap, payloads: Sequence[bytes], exact: Exact
    ) -> tuple[dict[int, Odd], NDArray[np.intp] | None]:
        """Read again what msgspec may have misread; return the odd rows, and those that stay."""
        missing = np.isinf(matrix)
        head, values = matrix[: len(_HEAD)], matrix[len(_HEAD) :]
        unmeasured = missing[len(_HEAD) :]
        reals = len(self.kind.reals)
        beyond = np.abs(values[:reals]) > _LARGEST_REAL
        broken = head != np.floor(head)
        # First of all rows at once: nearly every batch is sound, and small ones pay for each call.
        if not (
            heap.odd
            or matrix.size - np.count_nonzero(missing)
            != _count_colons(pick(payloads, heap.message))
            or broken.any()
            or np.count_nonzero(beyond) > np.count_nonzero(unmeasured[:reals])
            or (np.count_nonzero(unmeasured) >= len(values) and unmeasured.all(axis=0).any())
        ):
            return {}, None
        suspect = broken.any(axis=0)
        colons = [payloads[i].count(b":") for i in heap.message.tolist()]
        suspect |= len(matrix) - missing.sum(axis=0) != colons
        suspect |= unmeasured.all(axis=0)
        suspect |= (beyond & ~unmeasured[:reals]).any(axis=0)
        odd = dict(heap.odd)
        suspect[list(odd)] = False
        if not suspect.any():
            return odd, None
        for row in np.flatnonzero(suspect):
            record = exact(int(heap.message[row]))
            if record is not None:
                odd[int(row)] = _odd(record)
                matrix[:, row] = self._matrix([self._rebuild(record)])[:, 0]
                suspect[row] = False
        return odd, np.flatnonzero(~suspect)

    def _assemble(
        self,
        matrix: NDArray[np.float64],
        odd: Mapping[int, Odd],
        *,
        device_no: NDArray[np.int32],
        message: NDArray[np.intp],
        rx: NDArray[np.int64],
        now: int,
    ) -> Rows:
        head, values = matrix[: len(_HEAD)], matrix[len(_HEAD) :]
        given = np.isfinite(head)
        whole = np.where(given, head, 0.0).astype(np.int64)
        device = whole[0] * 1000
        seq = np.where(given[1], whole[1], -1)
        for row, record in odd.items():
            device[row] = record.ts or 0
            seq[row] = -1 if record.seq is None else record.seq
        times = believe(
            device, given[0], whole[2] == 1, rx, rules=self._rules, lateness=self._lateness
        )
        missing = np.isinf(values)
        if missing.any():
            values = np.where(missing, np.nan, values)
        quality = times.quality
        beyond = (values < self._low) | (values > self._high)
        if beyond.any():
            quality[beyond.any(axis=0)] |= Quality.OUT_OF_RANGE
        unknown = {row: record.unknown for row, record in odd.items() if record.unknown}
        if unknown:
            quality[list(unknown)] |= Quality.UNKNOWN_KEY
        faults: dict[int, int] = {}
        if whole[3].any():
            fault = np.flatnonzero(whole[3])
            quality[fault] |= Quality.SENSOR_FAULT
            faults = {row: int(whole[3, row]) for row in fault.tolist()}
        texts = extra_texts(times, device, rx, unknown=unknown, faults=faults)
        count = len(self.kind.reals)
        batch = Batch(
            kind=self.kind.name,
            device_no=device_no,
            ts=times.ts,
            rx=rx,
            seq=seq,
            values=values[:count].astype(np.float32),
            exact=values[count:],
            quality=quality,
            now=now,
            device_ts=device,
        )
        key = _key(seq, values, device)
        return Rows(self.kind, batch, key, texts, device, message)

    def _rebuild(self, record: Record) -> Any:
        """Return a record of the exact path in the shape of the fast one."""
        head: dict[str, Any] = {}
        if record.stamp.ts is not None:
            head["t"] = 0.0  # its exact time is in Odd
        if record.stamp.history:
            head["h"] = True
        if record.fault is not None:
            head["q"] = float(record.fault & _EXACT_INT - 1)
        return self._struct(**head, **record.values)


def _packed(names: Sequence[str]) -> np.dtype[Any]:
    """Return how a record of floats alone stands in MessagePack: a map of names and doubles."""
    at, offsets = len(msgspec.msgpack.encode(dict.fromkeys(names))), []
    at -= sum(len(name) + 2 for name in names)  # what is left is the head of the map
    for name in names:
        at += len(name) + 2  # a byte each says what follows
        offsets.append(at)
        at += _DOUBLE.itemsize
    formats = [_DOUBLE] * len(names)
    return np.dtype({"names": list(names), "formats": formats, "offsets": offsets, "itemsize": at})


def pick(items: Sequence[T], chosen: NDArray[np.intp]) -> Sequence[T]:
    """Return some items, without a step of the interpreter for each.

    >>> pick("abc", np.array([0, 2]))
    ('a', 'c')
    """
    if len(chosen) < 2:  # noqa: PLR2004 - of one, itemgetter returns no tuple
        return [items[i] for i in chosen.tolist()]
    some: Sequence[T] = itemgetter(*chosen.tolist())(items)
    return some


def _count_colons(payloads: Sequence[bytes]) -> int:
    return int(np.count_nonzero(np.frombuffer(b"".join(payloads), np.uint8) == _COLON))


def _array_head(length: int) -> int:
    """Return how many bytes stand before the first element of an array in MessagePack."""
    return 1 if length <= _SHORT else 3 if length <= _MIDDLE else 5


def _number(value: float | None) -> float:
    return _NULL if value is None else value


def _odd(record: Record) -> Odd:
    return Odd(record.stamp.ts, record.stamp.seq, record.unknown)


def _key(
    seq: NDArray[np.int64], values: NDArray[np.float64], device: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Put a 63-bit hash of the record where the device has no counter.

    So a resend is known for one, and two different records of one time both stay.
    """
    bare = np.flatnonzero(seq < 0)
    if not len(bare):
        return seq
    key = seq.copy()
    for row in bare:
        text = device[row].tobytes() + values[:, row].tobytes()
        digest = hashlib.blake2b(text, digest_size=8).digest()
        key[row] = int.from_bytes(digest, "big") >> 1
    return key
