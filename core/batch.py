"""Columns of readings, what stages make of them, and the protocol between the two.

``ingest`` builds a :class:`Batch` per device kind, ``analytics`` implements :class:`Stage`, and
``cityhub`` injects the one into the other; hence all three live here, below both. Pure data: no
I/O, no clock (``now`` comes in), no chance.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from core.model import Edge, Severity, Text


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings of one device kind, in order of arrival.

    Attributes:
        kind: The kind's name.
        device_no: ``(n,) int32`` persistent numbers from the registry.
        ts: ``(n,) int64`` event time, microseconds UTC.
        rx: ``(n,) int64`` receive time, microseconds UTC.
        seq: ``(n,) int64``, -1 where the record has none.
        values: ``(m, n) float32``, one contiguous row a ``real`` metric in the kind's order; NaN =
            not measured.
        exact: ``(k, n) float64``, likewise for coordinates and counters (``f8`` metrics).
        quality: ``(n,) int16`` bits of :class:`core.model.Quality`; stages may OR into it.
        now: The hub's time of this batch, microseconds UTC.
        device_ts: ``(n,) int64`` what the devices said of the time, microseconds UTC, anything
            where they said nothing; None: not kept.
        found: What earlier stages found in these rows, in their order: later ones may heed it.
        order: The rows sorted by device, time and arrival, once a stage asked; else empty.
    """

    kind: str
    device_no: NDArray[np.int32]
    ts: NDArray[np.int64]
    rx: NDArray[np.int64]
    seq: NDArray[np.int64]
    values: NDArray[np.float32]
    exact: NDArray[np.float64]
    quality: NDArray[np.int16]
    now: int
    device_ts: NDArray[np.int64] | None = None
    found: list["Finding"] = field(default_factory=list)
    order: list[NDArray[np.intp]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.device_no)


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """A signal the device itself raised (设备事件), such as ``cover_open``; not yet an alarm.

    Attributes:
        device_no: Who.
        name: The event's name in the thing model.
        ts: Event time, microseconds UTC.
        rx: Receive time, microseconds UTC.
        seq: The record's counter, -1 if none.
        on: True when a condition starts, False when it ends, None for a pulse.
        values: What the device sent with it, by wire key.
        quality: Bits of :class:`core.model.Quality`.
    """

    device_no: int
    name: str
    ts: int
    rx: int
    seq: int
    on: bool | None
    values: dict[str, Any]
    quality: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a detector saw. Never shown alone; ``alerts`` makes alarms of it.

    Attributes:
        device_no: On which device.
        rule_id: The alarm rule it feeds, such as ``"cover_open"``.
        detector: Which stage saw it.
        kind: What was seen, such as ``"open"``, ``"shift"``, ``"limit"``, ``"lost"``.
        edge: Whether the episode opens, goes on, clears, or is a single event.
        ts: Event time of this row, microseconds UTC.
        first_ts: The first breaching sample of the episode, microseconds UTC.
        received_at: When the hub took the row, microseconds UTC.
        severity: What the detector suggests.
        explain: One sentence for the operator.
        metric: The metric judged, empty for events.
        value: What was measured, NaN if nothing is.
        expected: What was expected, NaN if nothing is.
        limit: The threshold passed, NaN if there is none.
        unit: UCUM code of the three.
        score: The detector's own figure, NaN if it has none.
        confidence: 0 to 1.
        quality: The row's quality bits.
        rule_version: Version of the rule that judged.
        flags: Further words: ``unconfirmed``, ``clock_suspect``, ``retroactive``, ``late``,
            ``ongoing`` (an update that says nothing new).
        detail: Anything else worth keeping, JSON-ready.
    """

    device_no: int
    rule_id: str
    detector: str
    kind: str
    edge: Edge
    ts: int
    first_ts: int
    received_at: int
    severity: Severity
    explain: Text
    metric: str = ""
    value: float = float("nan")
    expected: float = float("nan")
    limit: float = float("nan")
    unit: str = ""
    score: float = float("nan")
    confidence: float = 1.0
    quality: int = 0
    rule_version: int = 1
    flags: tuple[str, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """How an episode stands by the last finding of it.

    Attributes:
        device_no: On which device.
        rule_id: Its rule.
        metric: The metric judged.
        is_open: It goes on.
        ts: Event time of that finding, microseconds UTC.
        first_ts: The first breaching sample, microseconds UTC.
        severity: What the detector suggested last.
        flags: The finding's further words.
        detail: What else the finding kept.
    """

    device_no: int
    rule_id: str
    metric: str
    is_open: bool
    ts: int
    first_ts: int
    severity: Severity
    flags: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


class Stage(Protocol):
    """A detector over batches of one kind, with its state inside.

    One worker owns a source, so each device is stepped by exactly one stage object. A batch is
    stepped once, kept over retries of its commit, and never stepped again; if it can never be
    committed the worker throws its stages away and builds new ones.
    """

    name: str
    version: int
    """Changes with any change of result; a snapshot of another version is not loaded."""

    def apply(self, batch: Batch) -> Sequence[Finding]:
        """Judge the rows. May OR bits into ``batch.quality``; changes nothing else of it.

        Rows that are late, out of order, or of a clock that is not believed never change state.
        Where this raises, it has changed nothing.
        """

    def apply_events(self, events: Sequence[DeviceEvent]) -> Sequence[Finding]:
        """Judge what devices of this kind raised themselves."""

    def dump(self) -> bytes:
        """Return the state, for :meth:`load` of the same ``name`` and ``version``."""

    def load(self, state: bytes | memoryview) -> None:
        """Take over a dumped state; it is copied.

        Raises:
            ValueError: The bytes are no such state.
        """


@dataclass(frozen=True, slots=True)
class Frozen:
    """A stage's state as it was, apart from the stage, so that it may be written meanwhile.

    Attributes:
        head: What the arrays are.
        arrays: They themselves, contiguous.
    """

    head: bytes
    arrays: tuple[NDArray[Any], ...]

    @property
    def size(self) -> int:
        """How many bytes it comes to."""
        return 8 + len(self.head) + sum(array.nbytes for array in self.arrays)

    def parts(self) -> Sequence[bytes | memoryview]:
        """Return its bytes, for :meth:`Stage.load`: checksum, length of the head, head, arrays."""
        head = len(self.head).to_bytes(4, "big") + self.head
        arrays = [array.reshape(-1).view(np.uint8).data for array in self.arrays]
        checksum = zlib.crc32(head)
        for part in arrays:
            checksum = zlib.crc32(part, checksum)
        return [checksum.to_bytes(4, "big"), head, *arrays]


class Freezing(Protocol):
    """A state as it was when the copy began, while its stage goes on."""

    @property
    def size(self) -> int:
        """About how many bytes it comes to."""

    def advance(self, most: int) -> bool:
        """Copy about so many bytes more; return whether all is copied.

        For the thread that steps the stage, between two batches.
        """

    def frozen(self) -> Frozen:
        """Return the state; once all is copied, from any thread."""


@runtime_checkable
class Freezes(Protocol):
    """A stage whose state may be large: it is copied and written by and by."""

    def freeze(self) -> Freezing:
        """Begin a copy of the state; its parts will be what ``dump`` returns now.

        A copy that was begun before and is not complete is given up.
        """


@runtime_checkable
class Resumes(Protocol):
    """A stage that can take up episodes which its state does not know of."""

    def resume(self, episodes: Sequence[Episode]) -> None:
        """Take over how episodes stand, in order; one that is not named stays as it is.

        What was found and committed is known to alarms, so a state that is older, or lost, must
        not contradict it: who forgot an opening would never clear it.
        """
