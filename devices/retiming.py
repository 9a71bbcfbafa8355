"""Native payloads told as of another time: read by their keys and written again, never searched.

Whoever plays recorded traffic again moves the times inside it along with the times of sending. Only
``t`` and ``ts`` of records move, in all three shapes of a message: one record, an array, columns. A
payload that cannot be read goes on as it is: it was quarantined the first time, and will be again.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from core.model import from_micros, to_micros

Retime = Callable[[int], int]
"""From a time to another, both microseconds since 1970 UTC."""

_FARTHEST_MS: Final = 10**15


def retime(payload: bytes, move: Retime) -> bytes:
    """Return a payload with its times moved; where it has none or cannot be read, as it is.

    >>> retime(b'{"t":1000,"seq":4,"tilt":1.50}', lambda at: at + 5_000_000)
    b'{"t":6000,"seq":4,"tilt":1.5}'
    >>> retime(b'{"c":["t","tilt"],"r":[[1000,1],[2000,2]]}', lambda at: at + 1_000)
    b'{"c":["t","tilt"],"r":[[1001,1],[2001,2]]}'
    >>> retime(b'not json', lambda at: 0)
    b'not json'
    """
    try:
        body = json.loads(payload.decode(), object_pairs_hook=_strict, parse_constant=_refuse)
        moved = _message(body, move)
    except (ValueError, RecursionError, OverflowError):
        return payload
    if not moved:
        return payload
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _strict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("a key stands twice")
    return body


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _message(body: Any, move: Retime) -> bool:
    """Move the times of a message in place; return whether there were any."""
    if isinstance(body, list):
        return sum(_record(record, move) for record in body) > 0
    if not isinstance(body, dict):
        return False
    moved = _record(body, move)
    columns, rows = body.get("c"), body.get("r")
    if isinstance(columns, list) and isinstance(rows, list):
        for key in ("t", "ts"):
            if key in columns:
                at = columns.index(key)
                for row in rows:
                    if isinstance(row, list) and at < len(row):
                        row[at], done = _moved(key, row[at], move)
                        moved |= done
    return moved


def _record(record: Any, move: Retime) -> bool:
    moved = False
    if isinstance(record, dict):
        for key in ("t", "ts"):
            if key in record:
                record[key], done = _moved(key, record[key], move)
                moved |= done
    return moved


def _moved(key: str, value: Any, move: Retime) -> tuple[Any, bool]:
    """Return a time moved, in the form it had, and whether it was one."""
    if key == "t":
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            return value, False
        if abs(value) > _FARTHEST_MS:
            return value, False
        return move(int(value) * 1000) // 1000, True
    if not isinstance(value, str):
        return value, False
    at = datetime.fromisoformat(value.upper())
    if at.tzinfo is None:
        return value, False
    return from_micros(move(to_micros(at))).isoformat().replace("+00:00", "Z"), True
