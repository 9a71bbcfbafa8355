"""A payload beside the thing model (比对): each field as sent, what is expected, what differs.

Every field is put to the decoder by itself, so that the page marks exactly what the decoder refuses
and cannot drift from it. What only warns (a value beyond its sensor, a key nobody knows) is marked
apart: such a record is stored.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final

from core.errors import PayloadError
from core.model import Text
from devices.kind import DeviceKind, Metric
from devices.topics import Channel
from ingest.envelopes import native
from ingest.reasons import REASONS

MOST_RECORDS: Final = 20
_SENT_LENGTH: Final = 120
_HEAD: Final = {
    "t": Text("设备时间，整数毫秒", "device time, whole milliseconds"),
    "ts": Text("设备时间，RFC 3339，带时区", "device time, RFC 3339 with its zone"),
    "seq": Text("计数器，整数", "counter, a whole number"),
    "h": Text("补传标记，true 或 false", "sent late, true or false"),
    "d": Text("子设备编号，文本", "child device, text"),
    "q": Text("故障位，整数", "fault bits, a whole number"),
}
_EVENT: Final = {
    "e": Text("事件名称，文本", "name of the event, text"),
    "on": Text("开始 true，结束 false", "true starts, false ends"),
    "val": Text("随事件测得的值，对象", "what was measured with it, an object"),
}
_STATE: Final = {"online": Text("是否在线，true 或 false", "there or not, true or false")}
_UNKNOWN: Final = Text(
    "物模型中没有该字段；原样保存，不作判断", "not in the thing model; kept as it is, never judged"
)
_NOT_THERE: Final = frozenset({"empty", "no_event_name"})
"""What a field alone lacks is no fault of this field."""


class Mark(StrEnum):
    """What the decoder thinks of a field."""

    FINE = "fine"
    WARNED = "warned"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class FieldCheck:
    """One field of a record.

    Attributes:
        key: Its name on the wire.
        sent: Its value as JSON, cut to 120 characters.
        wanted: What the thing model expects; None: it does not know the key.
        mark: Whether it differs.
        note: How it differs; None: it does not.
        closest: The name of the thing model that comes nearest to an unknown key.
    """

    key: str
    sent: str
    wanted: Text | None
    mark: Mark
    note: Text | None = None
    closest: str | None = None


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """One record of a message.

    Attributes:
        index: Its place in the message; None: it is the whole message.
        fields: Its fields, in order.
        problem: What is wrong with the record as a whole, such as two times.
        absent: Metrics of the thing model that it does not carry.
    """

    index: int | None
    fields: list[FieldCheck] = field(default_factory=list)
    problem: Text | None = None
    absent: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A payload beside the thing model.

    Attributes:
        kind: The kind it was compared with; None: nobody knows who sent it.
        problem: Why it cannot be taken apart at all.
        near: For such a payload: what stands where the reader gave up, marked by ``⟦ ⟧``.
        records: At most 20 of its records.
    """

    kind: str | None
    problem: Text | None = None
    near: str = ""
    records: list[RecordCheck] = field(default_factory=list)


def compare(
    payload: bytes,
    channel: Channel | None,
    kind: DeviceKind | None,
    *,
    most_records: int,
    only: int | None = None,
) -> Comparison:
    """Compare a payload with the thing model.

    Args:
        payload: The bytes, as received.
        channel: What its topic says that it is; None: the topic says nothing.
        kind: The kind of its sender; None: unknown, or one that measures nothing.
        most_records: The most records that a message may have.
        only: The one record in question; None: all, the first twenty of them.
    """
    name = kind.name if kind is not None else None
    try:
        records = list(native.records(native.parse(payload), most_records))
    except PayloadError as error:
        return Comparison(name, _sentence(error), _near(payload, error))
    chosen = [each for each in records if only is None or each[0] == only][:MOST_RECORDS]
    return Comparison(
        name, records=[_check(index, fields, channel, kind) for index, fields in chosen]
    )


def _check(
    index: int | None, fields: Any, channel: Channel | None, kind: DeviceKind | None
) -> RecordCheck:
    try:
        native.child_of(fields)
    except PayloadError as error:
        if not isinstance(fields, dict):
            return RecordCheck(index, problem=_sentence(error))
    problem = None
    checks = [_field(key, value, channel, kind) for key, value in fields.items()]
    if all(check.mark is not Mark.REFUSED for check in checks):
        problem = _whole(fields, channel, kind)
    absent: list[str] = []
    if kind is not None and channel is Channel.TELEMETRY:
        carried = {"lon", "lat"} if "g" in fields else set()
        absent = [m.name for m in kind.metrics if m.name not in fields and m.name not in carried]
    return RecordCheck(index, checks, problem, absent)


def _field(key: str, value: Any, channel: Channel | None, kind: DeviceKind | None) -> FieldCheck:
    sent = json.dumps(value, ensure_ascii=False)
    sent = sent if len(sent) <= _SENT_LENGTH else f"{sent[:_SENT_LENGTH]}…"
    wanted = _wanted(key, channel, kind)
    error = _judge({key: value}, channel, kind)
    if error is not None and error.code not in _NOT_THERE:
        return FieldCheck(key, sent, wanted, Mark.REFUSED, _sentence(error))
    if wanted is None:
        closest = get_close_matches(key, list(_names(channel, kind)), 1)
        return FieldCheck(key, sent, None, Mark.WARNED, _UNKNOWN, closest[0] if closest else None)
    if (note := _beyond(key, value, kind)) is not None:
        return FieldCheck(key, sent, wanted, Mark.WARNED, note)
    return FieldCheck(key, sent, wanted, Mark.FINE)


def _judge(
    fields: Mapping[str, Any], channel: Channel | None, kind: DeviceKind | None
) -> PayloadError | None:
    """Return what the decoder says of some fields, as a record of their channel."""
    try:
        native.child_of(fields)
        if channel is Channel.EVENT:
            native.read_event(fields)
        elif channel is Channel.STATE:
            native.read_state(fields)
        elif kind is not None:
            native.read_record(fields, kind)
    except PayloadError as error:
        return error
    return None


def _whole(
    fields: Mapping[str, Any], channel: Channel | None, kind: DeviceKind | None
) -> Text | None:
    error = _judge(fields, channel, kind)
    return None if error is None else _sentence(error)


def _wanted(key: str, channel: Channel | None, kind: DeviceKind | None) -> Text | None:
    if key in _HEAD:
        return _HEAD[key]
    match channel:
        case Channel.EVENT:
            return _EVENT.get(key)
        case Channel.STATE:
            return _STATE.get(key, Text("设备自述", "what the device says of itself"))
    for metric in _metrics(kind):
        if metric.name == key:
            unit = "" if metric.unit == "1" else f" {metric.unit}"
            span = f"{metric.low:g} … {metric.high:g}{unit}"
            return Text(f"{metric.label.zh}，数值 {span}", f"{metric.label.en}, number {span}")
    if key == "g" and {"lon", "lat"} <= {metric.name for metric in _metrics(kind)}:
        return Text("位置 [经度, 纬度]", "place, [longitude, latitude]")
    return None


def _beyond(key: str, value: Any, kind: DeviceKind | None) -> Text | None:
    """Return the warning on a value that its sensor cannot give."""
    for metric in _metrics(kind):
        if metric.name == key and isinstance(value, int | float):
            if metric.low <= value <= metric.high:
                return None
            return Text("超出量程；入库并加标记", "beyond its range; stored with a mark")
    return None


def _names(channel: Channel | None, kind: DeviceKind | None) -> Iterator[str]:
    yield from _HEAD
    if channel is Channel.EVENT:
        yield from _EVENT
    else:
        yield from (metric.name for metric in _metrics(kind))


def _metrics(kind: DeviceKind | None) -> Sequence[Metric]:
    return kind.metrics if kind is not None else ()


def _sentence(error: PayloadError) -> Text:
    reason = REASONS[error.code].text
    if not error.detail:
        return reason
    return Text(f"{reason.zh} ({error.detail})", f"{reason.en} ({error.detail})")


def _near(payload: bytes, error: PayloadError) -> str:
    """Return the surroundings of the place where JSON ends to be JSON."""
    cause = error.__cause__
    if isinstance(cause, json.JSONDecodeError):
        text, at = cause.doc, min(cause.pos, len(cause.doc))
        return f"{text[max(0, at - 40) : at]}⟦{text[at : at + 1]}⟧{text[at + 1 : at + 20]}"
    if isinstance(cause, UnicodeDecodeError):
        before = payload[max(0, cause.start - 40) : cause.start].decode("utf-8", "replace")
        wrong = payload[cause.start : cause.end].hex(" ")
        return f"{before}⟦{wrong}⟧"
    return payload[:80].decode("utf-8", "backslashreplace")
