"""Our own JSON (自有格式), read with every check: the exact path behind the fast one.

Most telemetry takes one msgspec call (:mod:`ingest.columns`). Whatever that call refuses or cannot
tell apart comes here: backlogs, columns, children of gateways, unknown keys, and all that is wrong,
which gets its own reason code. Nothing here knows the registry: the caller asks :func:`child_of`
who speaks, then reads the record by that device's kind.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NoReturn

from core.errors import PayloadError
from core.model import to_micros
from devices.kind import DeviceKind, Metric

MAX_DEPTH: Final = 16
MAX_TEXT: Final = 1024
MAX_UNKNOWN_KEYS: Final = 16
MAX_UNKNOWN_BYTES: Final = 2048
FARTHEST: Final = 10**18
"""Microseconds: a device time beyond is cut to it. It is not believed anyhow."""
_LARGEST_REAL: Final = 3.4028235677973366e38  # rounds to infinity as a real from here on
_MAX_SEQ: Final = 2**63 - 1
_EXACT_FLOATS: Final = 2**53  # from here on a number with a point has lost its last digits
_MAX_DIGITS: Final = 400  # of a whole number; a double has 309
_RFC3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_TIME_KEYS: Final = frozenset({"t", "ts", "seq", "h", "d", "q"})


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every message says of its time.

    Attributes:
        ts: Device time, microseconds UTC; None: it gave none.
        seq: The device's counter; None: it gave none.
        history: Measured earlier and sent late.
    """

    ts: int | None
    seq: int | None
    history: bool


@dataclass(frozen=True, slots=True)
class Record:
    """One record of telemetry.

    Attributes:
        stamp: Its time and counter.
        fault: The device's own fault bits; None: it gave none.
        values: By metric name; None = not measured.
        unknown: Keys that the kind does not have.
    """

    stamp: Stamp
    fault: int | None
    values: dict[str, float | None]
    unknown: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signal:
    """One device event, before the hub believes its time."""

    stamp: Stamp
    name: str
    on: bool | None
    values: dict[str, Any]
    unknown: bool


def parse(payload: bytes) -> Any:
    """Return the JSON of a payload.

    Raises:
        PayloadError: With the code of the first thing that is wrong.
    """
    if not payload.strip():
        raise PayloadError("empty")
    if b"\0" in payload:
        raise PayloadError("nul")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise PayloadError("not_utf8", error.reason) from error
    try:
        body = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_int=_whole,
            parse_float=_fraction,
        )
    except json.JSONDecodeError as error:
        raise PayloadError("not_json", f"{error.msg}, character {error.pos}") from error
    except RecursionError as error:
        raise PayloadError("deep_nesting") from error
    _check(body, MAX_DEPTH)
    return body


def records(body: Any, limit: int) -> Iterator[tuple[int | None, Any]]:
    """Yield the records of a message, each with its index; None: it is the whole message.

    Args:
        body: What :func:`parse` returned.
        limit: The most records in one message.

    Raises:
        PayloadError: The message as a whole cannot be taken apart.
    """
    if isinstance(body, dict) and ("c" in body or "r" in body):
        body = _rows(body)
    if not isinstance(body, list):
        yield None, body
        return
    if not body:
        raise PayloadError("empty")
    if len(body) > limit:
        raise PayloadError("too_many_records", f"{len(body)}, at most {limit}")
    yield from enumerate(body)


def child_of(fields: Any) -> str | None:
    """Return the device id that a record gives for itself, or None.

    Raises:
        PayloadError: The record is no object, or its ``d`` no text.
    """
    if not isinstance(fields, dict):
        raise PayloadError("not_object", type(fields).__name__)
    child = fields.get("d")
    if child is not None and not isinstance(child, str):
        raise PayloadError("wrong_type", "d")
    return child


def read_record(fields: Mapping[str, Any], kind: DeviceKind) -> Record:
    """Return a record of telemetry.

    Raises:
        PayloadError: With the code of the first thing that is wrong.
    """
    stamp = _stamp(fields)
    fault = fields.get("q")
    if isinstance(fault, float) and fault.is_integer():
        fault = int(fault)
    if fault is not None and (not isinstance(fault, int) or isinstance(fault, bool)):
        raise PayloadError("wrong_type", "q")
    metrics = {metric.name: metric for metric in kind.metrics}
    values: dict[str, float | None] = {}
    unknown: dict[str, Any] = {}
    for key, value in fields.items():
        if key in metrics:
            values[key] = _number(value, metrics[key])
        elif key not in _TIME_KEYS:
            unknown[key] = value
    if "g" in unknown and {"lon", "lat"} <= metrics.keys():
        values.update(_place(unknown.pop("g"), values, metrics))
    if not values and not unknown:
        raise PayloadError("empty", "no value")
    _check_unknown(unknown)
    return Record(stamp, fault, values, unknown)


def read_event(fields: Mapping[str, Any]) -> Signal:
    """Return a device event.

    Raises:
        PayloadError: With the code of the first thing that is wrong.
    """
    stamp = _stamp(fields)
    name, on, values = fields.get("e"), fields.get("on"), fields.get("val")
    if not isinstance(name, str) or not 0 < len(name) <= 64:  # noqa: PLR2004 - as its reason says
        raise PayloadError("no_event_name")
    if not isinstance(on, bool | None):
        raise PayloadError("wrong_type", "on")
    if not isinstance(values, dict | None):
        raise PayloadError("wrong_type", "val")
    unknown = {k: v for k, v in fields.items() if k not in _TIME_KEYS | {"e", "on", "val"}}
    _check_unknown(unknown)
    return Signal(stamp, name, on, {**unknown, **(values or {})}, bool(unknown))


def read_state(fields: Mapping[str, Any]) -> tuple[Stamp, bool | None, dict[str, Any]]:
    """Return when, whether the device is there, and what else it says of itself.

    Raises:
        PayloadError: With the code of the first thing that is wrong.
    """
    stamp = _stamp(fields)
    online = fields.get("online")
    if not isinstance(online, bool | None):
        raise PayloadError("wrong_type", "online")
    detail = {k: v for k, v in fields.items() if k not in _TIME_KEYS | {"online"}}
    if online is None and not detail:
        raise PayloadError("empty", "no state")
    return stamp, online, detail


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PayloadError("duplicate_key", _twice([key for key, _ in pairs]))
    return found


def _twice(keys: list[str]) -> str:
    return next(key for i, key in enumerate(keys) if key in keys[:i])[:64]


def _refuse_constant(text: str) -> NoReturn:
    raise PayloadError("not_finite", text)


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise PayloadError("number_too_big", f"{len(text)} digits")
    return int(text)


def _fraction(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise PayloadError("number_too_big", text[:32])
    return value


def _check(value: Any, depth: int) -> None:
    """Refuse what no column and no ``jsonb`` can hold, wherever it stands."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth == 0:
            raise PayloadError("deep_nesting")
        if isinstance(value, dict):
            for key in value:
                _check_text(key)
            value = value.values()
        for item in value:
            if isinstance(item, str | dict | list):
                _check(item, depth - 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise PayloadError("nul")
    if len(text) > MAX_TEXT:
        raise PayloadError("text_too_long", f"{len(text)} characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PayloadError("lone_surrogate") from error


def _rows(body: dict[str, Any]) -> list[Any]:
    """Return the records of a message in columns; what stands beside them holds for each."""
    columns, rows = body.get("c"), body.get("r")
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise PayloadError("bad_columns", "c and r must be arrays")
    if not all(isinstance(name, str) for name in columns):
        raise PayloadError("bad_columns", "c must hold texts")
    common = {key: value for key, value in body.items() if key not in {"c", "r"}}
    names = [*common, *columns]
    if len(set(names)) != len(names):
        raise PayloadError("duplicate_key", _twice(names))
    return [
        {**common, **dict(zip(columns, row, strict=True))}
        if isinstance(row, list) and len(row) == len(columns)
        else _Misfit()
        for row in rows
    ]


class _Misfit(dict[str, Any]):
    """Stands for a row that does not fit its columns, so that only this row is refused."""


def _stamp(fields: Mapping[str, Any]) -> Stamp:
    if isinstance(fields, _Misfit):
        raise PayloadError("bad_columns", "a row has more or fewer values than c")
    history = fields.get("h", False)
    if not isinstance(history, bool):
        raise PayloadError("wrong_type", "h")
    seq = fields.get("seq")
    if isinstance(seq, float) and seq.is_integer() and seq < _EXACT_FLOATS:
        seq = int(seq)  # JSON knows one kind of number: 41.0 is 41
    if seq is not None and (type(seq) is not int or not 0 <= seq <= _MAX_SEQ):
        raise PayloadError("bad_seq", str(seq)[:64])
    if "t" in fields and "ts" in fields:
        raise PayloadError("two_times")
    if "t" in fields:
        return Stamp(_milliseconds(fields["t"]), seq, history)
    if "ts" in fields:
        return Stamp(_rfc3339(fields["ts"]), seq, history)
    return Stamp(None, seq, history)


def _milliseconds(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise PayloadError("bad_time", str(value)[:64])
    return max(-FARTHEST, min(int(value) * 1000, FARTHEST))


def _rfc3339(value: Any) -> int:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise PayloadError("bad_time", str(value)[:64])
    try:
        return to_micros(datetime.fromisoformat(value.upper()))
    except ValueError as error:
        raise PayloadError("bad_time", value[:64]) from error


def _number(value: Any, metric: Metric) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool):
        if not is_switch(metric):
            raise PayloadError("wrong_type", metric.name)
        return float(value)
    if not isinstance(value, int | float):
        raise PayloadError("wrong_type", metric.name)
    try:
        number = float(value)
    except OverflowError as error:
        raise PayloadError("number_too_big", metric.name) from error
    if not metric.f8 and abs(number) >= _LARGEST_REAL:
        raise PayloadError("number_too_big", metric.name)
    return number


def is_switch(metric: Metric) -> bool:
    """Return whether a metric is a state, 0 or 1, that may also be told as false or true."""
    return metric.unit == "1" and (metric.low, metric.high) == (0, 1)


def _place(
    place: Any, values: Mapping[str, float | None], metrics: Mapping[str, Metric]
) -> dict[str, float | None]:
    """Return ``lon`` and ``lat`` of the short form ``g``; null = no fix."""
    if "lon" in values or "lat" in values:
        raise PayloadError("two_places")
    if place is None:
        return {"lon": None, "lat": None}
    if not isinstance(place, list) or len(place) != 2:  # noqa: PLR2004 - a pair
        raise PayloadError("wrong_type", "g")
    return {name: _number(place[i], metrics[name]) for i, name in enumerate(("lon", "lat"))}


def _check_unknown(unknown: dict[str, Any]) -> None:
    if len(unknown) > MAX_UNKNOWN_KEYS:
        raise PayloadError("too_many_unknown_keys", f"{len(unknown)} keys")
    if unknown and len(json.dumps(unknown, ensure_ascii=False).encode()) > MAX_UNKNOWN_BYTES:
        raise PayloadError("too_many_unknown_keys", f"more than {MAX_UNKNOWN_BYTES} bytes")
