"""What a stage remembers: named arrays with one row a device, and their form as bytes.

Struct of arrays, so that a step gathers the rows of a batch, computes on columns and scatters them
back. A snapshot is the arrays behind a head in msgpack and a checksum: no pickle, since what is
loaded at start decides what runs. It is refused when a byte of it is wrong, or when it was taken by
another version of the stage; whoever loads then starts from empty state.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.batch import Batch, DeviceEvent, Episode, Finding, Frozen

_LEAST_ROWS: Final = 64
_HEAD: Final = 8
"""Bytes before the head: a checksum of all behind it, and the length of the head."""
_SPARSE: Final = 16
_MANY: Final = 1_000

Rows = NDArray[np.intp]
"""Row numbers of a state, or positions in a batch."""


@dataclass(frozen=True, slots=True)
class Field:
    """One array of a state.

    Attributes:
        dtype: The type of its elements.
        shape: The shape of one device's part.
        fill: What it holds for a device never seen.
    """

    dtype: type[np.generic]
    shape: tuple[int, ...] = ()
    fill: float = 0


class _Array(msgspec.Struct, frozen=True, array_like=True):
    dtype: str
    shape: tuple[int, ...]


class _Snapshot(msgspec.Struct, frozen=True):
    stage: str
    version: int
    arrays: dict[str, _Array]


@dataclass(frozen=True, slots=True)
class Saved:
    """Rows set aside by :meth:`State.save`, for :meth:`State.restore`."""

    size: int
    rows: Rows
    arrays: dict[str, NDArray[Any]]


class State:
    """Arrays by name, each an attribute; a subclass declares them for the type checker.

    Args:
        fields: What to remember, by name.

    Attributes:
        size: How many devices have a row.
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = dict(fields)
        self._clear()

    def _clear(self) -> None:
        self.size = 0
        self._ids = np.zeros(_LEAST_ROWS, np.int32)
        self._row_of = np.full(_LEAST_ROWS, -1, np.int32)  # by device_no, which is small and dense
        for name, field in self._fields.items():
            setattr(self, name, np.full((_LEAST_ROWS, *field.shape), field.fill, field.dtype))

    def find(self, device_no: NDArray[np.int32]) -> Rows:
        """Return the row of each device, -1 where it has none."""
        # the last place is nobody's: there falls whoever is beyond the table
        return self._row_of.take(device_no, mode="clip").astype(np.intp)

    def rows(self, device_no: NDArray[np.int32]) -> Rows:
        """Return the row of each device, making those that are missing."""
        found = self.find(device_no)
        missing = found < 0
        if missing.any():
            self._add(np.unique(device_no[missing]))
            found = self.find(device_no)
        return found

    def _add(self, device_no: NDArray[np.int32]) -> None:
        size = self.size + len(device_no)
        self._ids = _grown(self._ids, size, 0)
        self._row_of = _grown(self._row_of, int(device_no.max()) + 2, -1)
        for name, field in self._fields.items():
            setattr(self, name, _grown(getattr(self, name), size, field.fill))
        self._ids[self.size : size] = device_no
        self._row_of[device_no] = np.arange(self.size, size)
        self.size = size

    def save(self, device_no: NDArray[np.int32]) -> Saved:
        """Set the rows of some devices aside."""
        rows = self.find(device_no)
        rows = rows[rows >= 0]
        if len(rows) > _MANY and len(rows) * _SPARSE > self.size:  # each once, in order: faster
            there = np.zeros(self.size, np.bool_)
            there[rows] = True
            rows = np.flatnonzero(there)
        return Saved(self.size, rows, {name: getattr(self, name)[rows] for name in self._fields})

    def restore(self, saved: Saved) -> None:
        """Undo all that happened to these devices since :meth:`save`; new ones are forgotten."""
        self.shrink(saved.size)
        for name in self._fields:
            getattr(self, name)[saved.rows] = saved.arrays[name]

    def shrink(self, size: int) -> None:
        """Forget the devices that came after the first so many."""
        self._row_of[self._ids[size : self.size]] = -1
        for name, field in self._fields.items():
            getattr(self, name)[size : self.size] = field.fill
        self.size = size

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name, of all rows there are."""
        return {name: getattr(self, name)[: self.size] for name in self._fields}

    def freeze(self, stage: str, version: int) -> Frozen:
        """Return the state with a head; the same state gives the same bytes."""
        parts = self.arrays() | {"": self._ids[: self.size]}
        return packed(stage, version, parts)

    def dump(self, stage: str, version: int) -> bytes:
        """Return the state as bytes; the same state gives the same bytes."""
        return b"".join(self.freeze(stage, version).parts())

    def load(self, data: bytes | memoryview, stage: str, version: int) -> None:
        """Take over a dumped state; on an error the present one stays.

        Raises:
            ValueError: The bytes are damaged, or of another stage, version or shape.
        """
        view = memoryview(data)
        if len(view) < _HEAD or zlib.crc32(view[4:]).to_bytes(4, "big") != view[:4]:
            raise ValueError(f"state of {stage}: the checksum is wrong")
        at = _HEAD + int.from_bytes(view[4:_HEAD], "big")
        try:
            snapshot = msgspec.msgpack.decode(view[_HEAD:at], type=_Snapshot)
        except msgspec.DecodeError as error:
            raise ValueError(f"state of {stage}: {error}") from error
        if (snapshot.stage, snapshot.version) != (stage, version):
            raise ValueError(
                f"state of {stage} version {version}: this is {snapshot.stage}"
                f" version {snapshot.version}"
            )
        fields = self._fields | {"": Field(np.int32)}
        if snapshot.arrays.keys() != fields.keys():
            raise ValueError(f"state of {stage}: its arrays are not those of this version")
        arrays = {}
        for name, described in snapshot.arrays.items():
            arrays[name] = _decode(view[at:], described, fields[name], stage)
            at += arrays[name].nbytes
        ids = arrays.pop("")
        fit = all(len(array) == len(ids) for array in arrays.values())
        if at != len(view) or not fit or (ids < 0).any():
            raise ValueError(f"state of {stage}: its arrays do not fit together")
        self._clear()
        if len(ids):
            self._add(ids)
        for name, array in arrays.items():
            getattr(self, name)[: len(ids)] = array


S = TypeVar("S", bound=State)


class StatefulStage(Generic[S]):
    """A stage whose whole memory is one state: a :class:`core.batch.Stage`.

    It overrides :meth:`judge` or :meth:`judge_events`.

    Args:
        state: Its memory.
    """

    name: str
    version: int

    def __init__(self, state: S) -> None:
        self.state = state

    def apply(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`core.batch.Stage.apply`; a defect that raises leaves no trace."""
        saved, quality = self.state.save(batch.device_no), batch.quality.copy()
        try:
            found = self.judge(batch)
        except BaseException:
            self.state.restore(saved)
            batch.quality[:] = quality
            raise
        batch.found.extend(found)
        return found

    def apply_events(self, events: Sequence[DeviceEvent]) -> Sequence[Finding]:
        """See :meth:`core.batch.Stage.apply_events`; likewise."""
        saved = self.state.save(np.array([event.device_no for event in events], np.int32))
        try:
            return self.judge_events(events)
        except BaseException:
            self.state.restore(saved)
            raise

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """Judge readings, if this stage does."""
        del batch
        return []

    def judge_events(self, events: Sequence[DeviceEvent]) -> Sequence[Finding]:
        """Judge the devices' own events, if this stage does."""
        del events
        return []

    def resume(self, episodes: Sequence[Episode]) -> None:
        """See :meth:`core.batch.Resumes.resume`; what has no episodes takes up none."""
        for episode in episodes:
            row = int(self.state.rows(np.array([episode.device_no], np.int32))[0])
            self.take_up(row, episode)

    def take_up(self, row: int, episode: Episode) -> None:
        """Take over how one episode stands.

        Args:
            row: The device's row in the state.
            episode: The episode.
        """
        del row, episode

    def dump(self) -> bytes:
        """See :meth:`core.batch.Stage.dump`."""
        return self.state.dump(self.name, self.version)

    def load(self, state: bytes | memoryview) -> None:
        """See :meth:`core.batch.Stage.load`."""
        self.state.load(state, self.name, self.version)


def packed(stage: str, version: int, arrays: Mapping[str, NDArray[Any]]) -> Frozen:
    """Return arrays with a head that tells of which stage and version they are."""
    described = {name: _Array(array.dtype.str, array.shape) for name, array in arrays.items()}
    head = msgspec.msgpack.encode(_Snapshot(stage, version, described))
    return Frozen(head, tuple(arrays.values()))


def _grown(array: NDArray[Any], least: int, fill: float) -> NDArray[Any]:
    """Return an array of at least so many rows: itself, or a copy of doubled length."""
    if least <= len(array):
        return array
    more = np.full((max(2 * len(array), least), *array.shape[1:]), fill, array.dtype)
    more[: len(array)] = array
    return more


def _decode(data: memoryview, array: _Array, field: Field, stage: str) -> NDArray[Any]:
    """Return an array that begins with the first byte, without copying it."""
    if array.dtype != np.dtype(field.dtype).str or array.shape[1:] != field.shape:
        raise ValueError(f"state of {stage}: {array.dtype}{array.shape} where {field} belongs")
    count = math.prod(array.shape)
    if not array.shape or count * np.dtype(field.dtype).itemsize > len(data):
        raise ValueError(f"state of {stage}: it ends early")
    return np.frombuffer(data, array.dtype, count).reshape(array.shape)
