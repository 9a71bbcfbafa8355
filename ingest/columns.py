"""Messages of one kind as columns: the fast path, made from the kind.

Nearly all telemetry is one flat object of known numbers. One msgspec call reads it, one more writes
the numbers of a whole batch as MessagePack, where each float stands at a fixed distance, so these
bytes are a matrix; everything that follows is vectorised. What msgspec refuses goes the exact path
(:mod:`ingest.envelopes.native`), which gives the precise reason.

msgspec cannot see a key that stands twice, nor tell a missing key from ``null``. So a missing field
is *infinity*, which no JSON number can be, and ``null`` is NaN. In a flat object without texts each
key has exactly one colon: where the colons of the payload are not as many as the fields that are
there, a key stood twice, and that message too goes the exact path. This costs .1 µs a message.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import Annotated, Any, Final

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
_EXACT_INT: Final = 2**53  # the matrix is float64
_LATEST_MS: Final = 10**15
_DOUBLE: Final = np.dtype(">f8")
_SHORT: Final = 15  # elements of an array whose length stands in its first byte
_MIDDLE: Final = (1 << 16) - 1
_LARGEST_REAL: Final = float(np.finfo(np.float32).max)

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
    """What has been gathered of one kind for the batch at hand."""

    records: list[Any] = field(default_factory=list)
    device_no: list[int] = field(default_factory=list)
    message: list[int] = field(default_factory=list)
    odd: dict[int, Odd] = field(default_factory=dict)

    def sort(self) -> None:
        """Put records that came the exact way back in the order of their messages."""
        if not self.odd:
            return
        order = sorted(range(len(self.message)), key=self.message.__getitem__)
        self.records = [self.records[row] for row in order]
        self.device_no = [self.device_no[row] for row in order]
        self.message = [self.message[row] for row in order]
        self.odd = {new: self.odd[old] for new, old in enumerate(order) if old in self.odd}


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
        heap.odd[len(heap.records)] = _odd(record)
        heap.records.append(self._rebuild(record))
        heap.device_no.append(device_no)
        heap.message.append(message)

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
        matrix = self._matrix(heap.records)
        message = np.array(heap.message, np.intp)
        device_no = np.array(heap.device_no, np.int32)
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
        colons = [payloads[i].count(b":") for i in heap.message]
        missing = np.isinf(matrix)
        head, values = matrix[: len(_HEAD)], matrix[len(_HEAD) :]
        suspect = len(matrix) - missing.sum(axis=0) != colons
        suspect |= missing[len(_HEAD) :].all(axis=0)
        suspect |= (head != np.floor(head)).any(axis=0)
        reals = len(self.kind.reals)
        beyond = np.abs(values[:reals]) > _LARGEST_REAL
        suspect |= (beyond & ~missing[len(_HEAD) : len(_HEAD) + reals]).any(axis=0)
        odd = dict(heap.odd)
        suspect[list(odd)] = False
        if not suspect.any():
            return odd, None
        for row in np.flatnonzero(suspect):
            record = exact(heap.message[row])
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
        values = np.where(np.isinf(values), np.nan, values)
        out = ((values < self._low) | (values > self._high)).any(axis=0)
        quality = times.quality
        quality[out] |= Quality.OUT_OF_RANGE
        fault = np.flatnonzero(whole[3])
        quality[fault] |= Quality.SENSOR_FAULT
        unknown = {row: record.unknown for row, record in odd.items() if record.unknown}
        quality[list(unknown)] |= Quality.UNKNOWN_KEY
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
