"""The hub's own payloads, from the device's side: compact JSON, keys as the thing model names them.

Simulators, tests and the printed ``mosquitto_pub`` line speak it. The other direction, bytes that
nobody may trust, is a decoder of its own in ``ingest``; the contract suite holds the two together.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from core.model import from_micros
from devices.kind import DeviceKind

_encode = msgspec.json.Encoder().encode


def _time(micros: int) -> dict[str, Any]:
    """Return ``t`` in whole milliseconds, or ``ts`` where that would lose something."""
    if micros % 1000 == 0:
        return {"t": micros // 1000}
    return {"ts": from_micros(micros).isoformat().replace("+00:00", "Z")}


def record(
    kind: DeviceKind,
    values: Mapping[str, float | None],
    *,
    ts_micros: int | None,
    seq: int | None,
    history: bool = False,
    device_id: str = "",
) -> dict[str, Any]:
    """Return a record as an object, for :func:`encode_records`.

    Args:
        kind: Its kind, which says how many digits go on the wire.
        values: By metric name; None = not measured. A missing name is left out.
        ts_micros: When it was measured, microseconds since 1970 UTC; None: the device has no clock.
        seq: The device's counter; None: it has none.
        history: Measured earlier and sent late.
        device_id: The child device; gateways only.

    Raises:
        KeyError: The kind has no such metric.
        ValueError: A value is not finite: JSON has no such number.
    """
    body: dict[str, Any] = {} if ts_micros is None else _time(ts_micros)
    if seq is not None:
        body["seq"] = seq
    if history:
        body["h"] = True
    if device_id:
        body["d"] = device_id
    for name, value in values.items():
        metric = kind.metric(name)
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name} of a {kind.name} is {value}, which JSON cannot say")
        body[name] = None if value is None else _digits(value, metric.decimals)
    return body


def _digits(value: float, decimals: int) -> float | int:
    """Round to what the sensor sends; whole numbers lose their ``.0``."""
    return round(value, decimals) if decimals else round(value)


def encode_record(
    kind: DeviceKind,
    values: Mapping[str, float | None],
    *,
    ts_micros: int | None,
    seq: int | None,
    history: bool = False,
    device_id: str = "",
) -> bytes:
    """Return one record (遥测) as JSON; arguments and errors as in :func:`record`.

    >>> from devices.manhole_cover import MANHOLE_COVER
    >>> encode_record(MANHOLE_COVER, {"tilt": 0.4, "gap": None}, ts_micros=1_760_000_000_123_000,
    ...     seq=41)
    b'{"t":1760000000123,"seq":41,"tilt":0.4,"gap":null}'
    """
    return _encode(
        record(kind, values, ts_micros=ts_micros, seq=seq, history=history, device_id=device_id)
    )


def encode_records(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Return several records as one JSON array: a backlog (补传), oldest first, at most 500."""
    return _encode(records)


def encode_event(
    name: str,
    *,
    ts_micros: int | None,
    seq: int | None,
    on: bool | None = None,
    values: Mapping[str, Any] | None = None,
    device_id: str = "",
) -> bytes:
    """Return an event (设备事件) as JSON.

    Args:
        name: Its name in the thing model.
        ts_micros: When it happened, microseconds since 1970 UTC; None: the device has no clock.
        seq: The device's counter; None: it has none.
        on: A condition starts (True) or ends (False); None: a pulse.
        values: What was measured with it.
        device_id: The child device; gateways only.

    >>> encode_event("cover_open", ts_micros=1_760_000_000_123_000, seq=9, on=True,
    ...     values={"tilt": 63.0})
    b'{"t":1760000000123,"seq":9,"e":"cover_open","on":true,"val":{"tilt":63.0}}'
    """
    body: dict[str, Any] = {} if ts_micros is None else _time(ts_micros)
    if seq is not None:
        body["seq"] = seq
    if device_id:
        body["d"] = device_id
    body["e"] = name
    if on is not None:
        body["on"] = on
    if values:
        body["val"] = dict(values)
    return _encode(body)


def encode_state(*, online: bool, ts_micros: int | None = None, **detail: Any) -> bytes:
    """Return a state (设备状态) as JSON; without a time it is a Last Will, dated by its receipt.

    Args:
        online: Whether the device is there.
        ts_micros: Since when, microseconds since 1970 UTC.
        detail: ``fw``, ``hw``, ``net``, ``cfg`` and what else the device says of itself.

    >>> encode_state(online=False)
    b'{"online":false}'
    """
    body = {} if ts_micros is None else _time(ts_micros)
    return _encode({**body, "online": online, **detail})
