"""From raw messages to readings, events, states and refusals; no database, no clock.

Every record of a batch ends in exactly one of the four, so the ledger can be proved: received =
stored + duplicate + quarantined.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.batch import DeviceEvent, Finding
from core.errors import PayloadError
from core.model import Quality
from devices import KINDS
from devices.registry import Device, Registry
from devices.topics import Channel
from ingest.columns import Columns, Heap, pick
from ingest.envelopes import native
from ingest.routes import PLACE_BITS, Route
from ingest.rows import Rows
from ingest.snapshots import Dump
from ingest.sources import RawBatch
from ingest.times import TimeRules, believe, both_times, lateness_of

_SPOT: Final = attrgetter("spot")
_NUMBER: Final = (1 << PLACE_BITS) - 1


@dataclass(frozen=True, slots=True)
class StateChange:
    """What a device says of itself.

    Attributes:
        device_no: Who.
        at: Since when, microseconds UTC.
        rx: Receive time, microseconds UTC.
        online: Whether it is there; None: it does not say.
        detail: Firmware, network, settings …
        message: Index of the message in its batch.
    """

    device_no: int
    at: int
    rx: int
    online: bool | None
    detail: dict[str, Any]
    message: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record, or a message, that goes to quarantine.

    Attributes:
        message: Index of the message in its batch.
        code: A key of :data:`ingest.reasons.REASONS`.
        detail: What exactly, in the decoder's words.
        device_no: Whose topic it is, where that is known.
        record: Index of the record in the message; None: the whole message.
    """

    message: int
    code: str
    detail: str = ""
    device_no: int | None = None
    record: int | None = None


@dataclass(slots=True)
class Work:
    """One batch, decoded and judged: all that its transaction writes.

    Attributes:
        raw: The messages.
        now: The hub's time, microseconds UTC.
        rows: Readings, a block a kind.
        events: Device events, each with the index of its message.
        states: What devices say of themselves.
        refused: What goes to quarantine.
        findings: What the detectors saw.
        snapshot: The detectors' state behind this batch, where it is time to save it.
    """

    raw: RawBatch
    now: int
    rows: list[Rows] = field(default_factory=list)
    events: list[tuple[int, DeviceEvent]] = field(default_factory=list)
    states: list[StateChange] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    snapshot: list[Dump] = field(default_factory=list)


class Decoder:
    """Decodes the native format.

    Args:
        registry: The devices.
        columns: Column makers by kind.
        rules: Which times are believed.
        max_payload: Bytes; a longer message is refused.
        max_records: The most records in one message.
    """

    def __init__(
        self,
        registry: Registry,
        columns: Mapping[str, Columns],
        *,
        rules: TimeRules,
        max_payload: int,
        max_records: int,
    ) -> None:
        self._registry = registry
        self._columns = columns
        self._names = tuple(columns)
        self._rules = rules
        self._max_payload = max_payload
        self._max_records = max_records

    def decode(self, raw: RawBatch, routes: Mapping[bytes, Route], now: int) -> Work:
        """Decode a batch.

        Args:
            raw: The messages.
            routes: The route of each of their topics.
            now: The hub's time, microseconds UTC.
        """
        work = Work(raw, now)
        heaps = {name: Heap() for name in self._columns}
        topics, payloads = raw.topics, raw.payloads
        spots = np.fromiter(map(_SPOT, map(routes.__getitem__, topics)), np.int64, len(topics))
        places = spots >> PLACE_BITS
        if max(map(len, payloads), default=0) > self._max_payload:
            lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
            places[lengths > self._max_payload] = -1
        others = np.flatnonzero(places < 0).tolist()
        for place in np.flatnonzero(np.bincount(places + 1)[1:]).tolist():
            name = self._names[place]
            chosen = np.flatnonzero(places == place)
            chosen, refused = self._plain(raw, heaps[name], self._columns[name], chosen)
            heaps[name].message = chosen
            heaps[name].device_no = (spots[chosen] & _NUMBER).astype(np.int32)
            others += refused
        for i in sorted(others):
            self._exact(work, heaps, routes[topics[i]], i)
        for name, heap in heaps.items():
            if heap.records:
                heap.settle()
                self._finish(work, heap, self._columns[name])
        return work

    def _plain(
        self, raw: RawBatch, heap: Heap, columns: Columns, chosen: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], list[int]]:
        """Gather the plain records among some messages of one kind.

        The loop runs inside ``list.extend``. A payload that is refused ends it, and what was read
        before stays; so it goes on behind that one.

        Returns:
            The messages whose records were gathered, and the others.
        """
        records = heap.records
        reading = map(columns.decode, pick(raw.payloads, chosen))
        others: list[int] = []
        while True:
            try:
                records.extend(reading)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                others.append(len(records) + len(others))
            else:
                break
        if not others:
            return chosen, others
        plain = np.ones(len(chosen), np.bool_)
        plain[others] = False
        return chosen[plain], chosen[others].tolist()

    def _finish(self, work: Work, heap: Heap, columns: Columns) -> None:
        def again(i: int) -> native.Record | None:
            try:
                return native.read_record(native.parse(raw.payloads[i]), columns.kind)
            except PayloadError as error:
                number = int(heap.device_no[np.flatnonzero(heap.message == i)[0]])
                work.refused.append(Refusal(i, error.code, error.detail, number))
                return None

        raw = work.raw
        rows = columns.finish(heap, raw.payloads, raw.received_at, again, work.now)
        if len(rows):
            work.rows.append(rows)

    def _exact(self, work: Work, heaps: Mapping[str, Heap], route: Route, i: int) -> None:
        """Take one message apart with every check."""
        owner = route.device
        number = owner.device_no if owner is not None else None
        payload = work.raw.payloads[i]
        if route.code or owner is None:
            work.refused.append(Refusal(i, route.code, device_no=number))
            return
        if len(payload) > self._max_payload:
            detail = f"{len(payload)} bytes, at most {self._max_payload}"
            work.refused.append(Refusal(i, "too_large", detail, number))
            return
        try:
            records = list(native.records(native.parse(payload), self._max_records))
        except PayloadError as error:
            work.refused.append(Refusal(i, error.code, error.detail, number))
            return
        for index, fields in records:
            try:
                device = self._speaker(owner, native.child_of(fields))
                if route.channel is Channel.TELEMETRY:
                    self._telemetry(heaps, device, fields, i)
                elif route.channel is Channel.EVENT:
                    self._event(work, device, fields, i)
                else:
                    self._state(work, device, fields, i)
            except PayloadError as error:
                work.refused.append(Refusal(i, error.code, error.detail, number, index))

    def _speaker(self, owner: Device, child: str | None) -> Device:
        """Return who a record speaks for: the topic's owner, or a device it carries."""
        if child is None or child == owner.device_id:
            return owner
        if child not in self._registry.children(owner.device_id):
            known = child in self._registry.by_id
            raise PayloadError("identity" if known else "unknown_device", child[:64])
        device = self._registry.by_id[child]
        if device.state == "retired":
            raise PayloadError("device_retired", child)
        return device

    def _telemetry(
        self, heaps: Mapping[str, Heap], device: Device, fields: dict[str, Any], i: int
    ) -> None:
        columns = self._columns.get(device.kind)
        if columns is None:
            raise PayloadError("no_readings", device.kind)
        record = native.read_record(fields, columns.kind)
        columns.keep(heaps[device.kind], record, device.device_no, i)

    def _event(self, work: Work, device: Device, fields: dict[str, Any], i: int) -> None:
        signal = native.read_event(fields)
        ts, quality, extra = self._believe(work, device, signal.stamp, i)
        if signal.unknown:
            quality |= Quality.UNKNOWN_KEY
        event = DeviceEvent(
            device_no=device.device_no,
            name=signal.name,
            ts=ts,
            rx=work.raw.received_at[i],
            seq=-1 if signal.stamp.seq is None else signal.stamp.seq,
            on=signal.on,
            values={**signal.values, **extra},
            quality=quality,
        )
        work.events.append((i, event))

    def _state(self, work: Work, device: Device, fields: dict[str, Any], i: int) -> None:
        stamp, online, detail = native.read_state(fields)
        at, _, extra = self._believe(work, device, stamp, i)
        rx = work.raw.received_at[i]
        work.states.append(StateChange(device.device_no, at, rx, online, {**detail, **extra}, i))

    def _believe(
        self, work: Work, device: Device, stamp: native.Stamp, i: int
    ) -> tuple[int, int, dict[str, Any]]:
        """Apply the time rules to a single stamp; return time, quality bits and what to keep."""
        rx = np.array([work.raw.received_at[i]], np.int64)
        given = np.array([stamp.ts or 0], np.int64)
        times = believe(
            given,
            np.array([stamp.ts is not None]),
            np.array([stamp.history]),
            rx,
            rules=self._rules,
            lateness=lateness_of(KINDS.get(device.kind)),
        )
        quality = int(times.quality[0])
        extra: dict[str, Any] = {}
        if len(times.odd):
            suspect = bool(quality & Quality.CLOCK_SUSPECT)
            extra = both_times(int(given[0]), int(rx[0]), suspect=suspect)
        return int(times.ts[0]), quality, extra
