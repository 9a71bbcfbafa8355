"""What a message would become, record by record, before anything is written (试映射)."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from core.batch import DeviceEvent
from core.model import Text, from_micros
from devices.registry import Registry
from ingest.decode import Refusal, StateChange, Work
from ingest.reasons import REASONS
from ingest.rows import Rows


@dataclass(frozen=True, slots=True)
class Preview:
    """What a record would become.

    Attributes:
        device_id: Whose reading, event or state it is.
        table: Where it would stand: ``reading_<kind>``, ``device_event``, ``device_state``.
        ts: Event time; None: it is refused.
        seq: The second part of its key.
        values: Of a reading its metrics, of others what they carry.
        quality: Its quality bits, those of history included.
        code: Why it is refused; empty: it is not.
        problem: The sentence to the code.
    """

    device_id: str
    table: str
    ts: datetime | None
    seq: int | None
    values: dict[str, Any]
    quality: int
    code: str = ""
    problem: Text | None = None


def preview(work: Work, registry: Registry) -> list[Preview]:
    """Return what decoded messages would become: readings, events, states, then refusals."""
    names = {number: device.device_id for number, device in registry.by_no.items()}
    found = [_reading(rows, row, names) for rows in work.rows for row in range(len(rows))]
    found += [_event(event, names) for _, event in work.events]
    found += [_state(state, names) for state in work.states]
    return found + [_refused(refusal, names) for refusal in work.refused]


def sentence(refusal: Refusal) -> Text:
    """Return why something is refused, with the decoder's own words."""
    reason = REASONS[refusal.code].text
    suffix = f" ({refusal.detail})" if refusal.detail else ""
    return Text(reason.zh + suffix, reason.en + suffix)


def _reading(rows: Rows, row: int, names: dict[int, str]) -> Preview:
    values: dict[str, Any] = {}
    for place, metric in enumerate(rows.kind.reals):
        if not np.isnan(value := rows.batch.values[place, row]):
            values[metric.name] = _short(value)
    for place, metric in enumerate(rows.kind.exacts):
        if not np.isnan(value := rows.batch.exact[place, row]):
            values[metric.name] = float(value)
    if row in rows.extra:
        values["extra"] = json.loads(rows.extra[row])
    return Preview(
        device_id=names[int(rows.batch.device_no[row])],
        table=rows.kind.table.name,
        ts=from_micros(int(rows.batch.ts[row])),
        seq=int(rows.seq[row]),
        values=values,
        quality=int(rows.batch.quality[row]),
    )


def _event(event: DeviceEvent, names: dict[int, str]) -> Preview:
    return Preview(
        device_id=names[event.device_no],
        table="device_event",
        ts=from_micros(event.ts),
        seq=event.seq if event.seq >= 0 else None,
        values={"name": event.name, "active": event.on, **event.values},
        quality=event.quality,
    )


def _state(state: StateChange, names: dict[int, str]) -> Preview:
    return Preview(
        device_id=names[state.device_no],
        table="device_state",
        ts=from_micros(state.at),
        seq=None,
        values={"online": state.online, **state.detail},
        quality=0,
    )


def _refused(refusal: Refusal, names: dict[int, str]) -> Preview:
    return Preview(
        device_id=names.get(refusal.device_no or 0, ""),
        table="quarantine",
        ts=None,
        seq=None,
        values={},
        quality=0,
        code=refusal.code,
        problem=sentence(refusal),
    )


def _short(value: np.float32) -> float:
    """Return a single-precision value with its own digits, not those of a double.

    >>> _short(np.float32(0.1))
    0.1
    """
    return float(str(value))
