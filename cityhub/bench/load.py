"""The load of the bench: a city's telemetry of several kinds, with events, states and bad messages.

Always made anew, since a device that reports an hour late is a case of its own, and the same for
all contestants of a round. What each message must become is counted here, so a run can be checked
in SQL afterwards.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from devices import KINDS
from devices.kind import DeviceKind
from devices.native import encode_event, encode_record, encode_state
from devices.registry import register
from simulators.rest import RestingDevice

SHARES: Final = {
    "street_lamp": 10,
    "manhole_cover": 4,
    "sanitation_vehicle": 3,
    "sanitation_worker": 2,
    "water_gauge": 1,
}
"""Of twenty devices so many are of each kind; all report equally often."""
_EVENT_EVERY: Final = 997
_STATE_EVERY: Final = 991
_BAD_EVERY: Final = 499  # a prime, so that it is not always the same device
_BAD: Final = (b'{"t":', b'{"rssi":"low"}', b"\xff\xfe\x00", b'{"t":"noon","rssi":-9}')
_POOL: Final = 8  # records of a device that take turns: their values are not what is measured

Message = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Sender:
    """One device of the load."""

    device_id: str
    kind: DeviceKind
    device_no: int
    values: Sequence[dict[str, float]]


@dataclass(slots=True)
class Load:
    """Messages, and what must become of them.

    Attributes:
        messages: Topics and payloads, in order.
        rows: Readings by kind.
        events: Device events.
        bad: What must end in quarantine.
    """

    messages: list[Message] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    events: int = 0
    bad: int = 0

    def __len__(self) -> int:
        return len(self.messages)

    def write(self, path: Path) -> Path:
        """Write a line a message, for the publisher."""
        path.write_bytes(
            b"".join(topic.encode() + b"\t" + payload + b"\n" for topic, payload in self.messages)
        )
        return path


def make_senders(conn: psycopg.Connection[Any], count: int, *, at: int) -> list[Sender]:
    """Register devices, a mixture of kinds.

    Args:
        conn: A migrated database; the transaction is the caller's.
        count: How many.
        at: Time of what they measure, microseconds UTC.
    """
    names = [name for name, share in SHARES.items() for _ in range(share)]
    random.Random(1).shuffle(names)  # noqa: S311 - chance of a simulation, seeded
    senders = []
    for i in range(count):
        kind = KINDS[names[i % len(names)]]
        device_id = f"{kind.id_prefix}-{i:07d}"
        device = RestingDevice(kind, device_id, seed=1, scenario="bench")
        values = [device.values(at) for _ in range(_POOL)]
        number = register(conn, device_id, kind.name).device_no
        senders.append(Sender(device_id, kind, number, values))
    return senders


def make_load(senders: Sequence[Sender], count: int, *, at: int, dirt: bool = True) -> Load:
    """Return messages of all devices in turn.

    Args:
        senders: The devices.
        count: How many messages.
        at: Device time of the first, microseconds UTC.
        dirt: With events, states and bad messages among them.
    """
    load, first_ms = Load(), at // 1000
    for i in range(count):
        turn, place = divmod(i, len(senders))
        sender, ts = senders[place], (first_ms + turn) * 1000
        topic = f"hub/{sender.device_id}"
        if dirt and i % _BAD_EVERY == _BAD_EVERY - 1:
            payload = _BAD[load.bad % len(_BAD)]
            load.bad += 1
            load.messages.append((f"{topic}/telemetry", payload))
        elif dirt and i % _EVENT_EVERY == _EVENT_EVERY // 2:
            name = sender.kind.events[0].name if sender.kind.events else "restarted"
            load.messages.append((f"{topic}/event", encode_event(name, ts_micros=ts, seq=turn)))
            load.events += 1
        elif dirt and i % _STATE_EVERY == _STATE_EVERY // 4:
            load.messages.append((f"{topic}/state", encode_state(online=True, ts_micros=ts)))
        else:
            values = sender.values[turn % _POOL]
            payload = encode_record(sender.kind, values, ts_micros=ts, seq=turn)
            load.messages.append((f"{topic}/telemetry", payload))
            load.rows[sender.kind.name] += 1
    return load
