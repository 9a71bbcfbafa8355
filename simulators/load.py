"""Load with a ledger: many devices at a steady rate, each PUBACK written down.

A load generator of its own beside the fleet: plain readings, as fast as asked, and an account that
:mod:`simulators.oracle` holds against the hub. Some covers may be opened in the midst of it, so
that alarms must come.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from core.clock import Clock
from devices import KINDS
from devices.kind import DeviceKind
from devices.native import encode_event, encode_record
from devices.topics import TOPIC_PREFIX
from simulators.courier import Login
from simulators.publisher import Publication, Publisher
from simulators.run_ledger import Key, RunLedger

THEFT: Final = ("cover_open", "cover_open")
"""Event and rule of an opened cover."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent.

    Attributes:
        kind: Of the devices.
        devices: Who speaks, in turn.
        number: How many readings in all.
        first_seq: Counter of each device's first reading.
        thefts: So many devices tell half-way that their cover is open.
        theft_after: They tell after so many readings instead.
        dispatched: Such an alarm must become a work order that is dispatched.
    """

    kind: DeviceKind
    devices: Sequence[str]
    number: int
    first_seq: int = 0
    thefts: int = 0
    theft_after: int | None = None
    dispatched: bool = False

    def messages(self, clock: Clock, ledger: RunLedger) -> Iterator[Publication[Key | None]]:
        """Yield all messages, each dated when it is asked for.

        Times of one device rise, a millisecond a reading at least: two readings of one time would
        be a fault of the device, and none is meant here.
        """
        last, first = 0, self.number // 2 if self.theft_after is None else self.theft_after
        for i in range(self.number):
            if self.thefts and first <= i < first + self.thefts:
                device = self.devices[(i - first) % len(self.devices)]
                ledger.expect_alarm(device, THEFT[1], dispatched=self.dispatched)
                payload = encode_event(THEFT[0], ts_micros=clock.micros(), seq=None, on=True)
                yield Publication(f"{TOPIC_PREFIX}/{device}/event", payload, None)
            turn, place = divmod(i, len(self.devices))
            if place == 0:
                last = max(last + 1000, clock.micros() // 1000 * 1000)
            device, seq = self.devices[place], self.first_seq + turn
            yield Publication(
                f"{TOPIC_PREFIX}/{device}/telemetry", self._reading(last, seq), (device, seq)
            )

    def _reading(self, ts: int, seq: int) -> bytes:
        values = {metric.name: metric.rest for metric in (*self.kind.reals, *self.kind.exacts)}
        return encode_record(self.kind, values, ts_micros=ts, seq=seq)


async def run_load(
    load: Load,
    login: Login,
    *,
    rate: float,
    ledger: Path,
    clock: Clock,
    window: int = 500,
    until: Callable[[], bool] = lambda: False,
) -> Publisher[Key | None]:
    """Send all of it and return when the broker has taken it; the ledger is on disk then.

    Args:
        load: What.
        login: Where to.
        rate: Messages a second, at most.
        ledger: File of the run; a new run is appended.
        clock: What time it is for the devices.
        window: The most messages without an acknowledgement.
        until: Whether it is enough; what was sent by then is still seen to its acknowledgement.
    """
    book = RunLedger(ledger)
    try:
        book.begin(load.kind.name, clock.micros())
        publisher = Publisher[Key | None](
            login,
            sending=lambda keys: book.sending(filter(None, keys)),
            acknowledged=lambda keys: book.acknowledged(filter(None, keys)),
            client_id=None,
            window=window,
        )
        messages = takewhile(lambda _: not until(), load.messages(clock, book))
        await publisher.send(messages, rate=rate)
        return publisher
    finally:
        book.close()


def kind_named(name: str) -> DeviceKind:
    """Return a kind.

    Raises:
        ValueError: There is none of this name.
    """
    if name not in KINDS:
        raise ValueError(f"there is no kind {name!r}; there are {', '.join(KINDS)}")
    return KINDS[name]
