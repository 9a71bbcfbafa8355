"""The figures of ``/metrics`` that stand in the tables: how much waits, is open, does not add up.

What a process counts itself is in :mod:`core.metrics`; nothing is counted twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from api.store import Row
from core.presence import SILENT_S, Presence, youngest

DATABASE_UP: Final = ("cityhub_database_up", "Whether the database answers", ())
FAMILIES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "cityhub_role_up": ("Whether a process of this role was heard in the last 20 s", ("role",)),
    "cityhub_role_age_seconds": ("Seconds since a process of this role was heard", ("role",)),
    "cityhub_source_position": (
        "What is committed: the place in a log, or the commits of a session", ("source",)
    ),
    "cityhub_source_age_seconds": ("Seconds since a batch of this source committed", ("source",)),
    "cityhub_devices_known": ("Active devices", ("kind",)),
    "cityhub_devices_heard": ("Active devices heard in three intervals", ("kind",)),
    "cityhub_open_alarms": ("Open alarms; severity 1 blue to 4 red", ("severity",)),
    "cityhub_unacked_alarms": ("Open alarms nobody acknowledged", ("severity",)),
    "cityhub_outbox_waiting": ("Deliveries not yet made", ()),
    "cityhub_outbox_dead": ("Dead letters: a person must look", ()),
    "cityhub_outbox_oldest_seconds": ("Age of the oldest delivery not yet made", ()),
    "cityhub_finding_lag_seconds": ("Age of the oldest finding not yet handled", ()),
    "cityhub_quarantine_open": ("Payloads in quarantine that nobody settled", ()),
    "cityhub_ledger_difference": ("Records unaccounted for: 0, always", ()),
    "cityhub_silence_sweep_age_seconds": ("Seconds since the last look for silent devices", ()),
    "cityhub_rollup_marks": ("Stretches of readings whose roll-ups are not yet computed", ()),
    "cityhub_event_log_newest": ("Id of the newest entry of the event log", ()),
}  # fmt: skip
"""What each is, and its labels."""

_ALIVE: Final = 1.0


@dataclass(frozen=True, slots=True)
class State:
    """What checks and figures look at: rows read in one look.

    Attributes:
        lag: Of :func:`api.reads.operations.read_lag`.
        devices: A row a kind.
        sources: A row a source.
        ledger: Its sums.
        roles: What each role said last.
    """

    lag: Row
    devices: Sequence[Row]
    sources: Sequence[Row]
    ledger: Row
    roles: Sequence[Presence]


class Tables:
    """The figures of one look, as the library asks for them.

    Args:
        state: What was read.
        alarms: Open and unacknowledged alarms by severity.
        now: The hub's time.
    """

    def __init__(self, state: State, alarms: Mapping[int, tuple[int, int]], now: datetime) -> None:
        self._state = state
        self._alarms = alarms
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the figures; those that nothing is known of are left out."""
        families = {
            name: GaugeMetricFamily(name, text, labels=labels)
            for name, (text, labels) in FAMILIES.items()
        }
        for name, labels, value in self._samples():
            families[name].add_metric(labels, float(value))
        yield from (family for family in families.values() if family.samples)

    def _samples(self) -> Iterator[tuple[str, list[str], float]]:
        state, lag, now = self._state, self._state.lag, self._now
        for role, heard in youngest(state.roles).items():
            yield "cityhub_role_up", [role], _ALIVE if heard <= SILENT_S else 0.0
            yield "cityhub_role_age_seconds", [role], heard
        for row in state.sources:
            yield "cityhub_source_position", [row["source"]], row["position"]
            yield "cityhub_source_age_seconds", [row["source"]], _seconds(row["updated_at"], now)
        for row in state.devices:
            yield "cityhub_devices_known", [row["kind"]], row["known"]
            yield "cityhub_devices_heard", [row["kind"]], row["heard"]
        for severity, (opened, waiting) in self._alarms.items():
            yield "cityhub_open_alarms", [str(severity)], opened
            yield "cityhub_unacked_alarms", [str(severity)], waiting
        yield "cityhub_outbox_waiting", [], lag["outbox_waiting"]
        yield "cityhub_outbox_dead", [], lag["outbox_dead"]
        yield "cityhub_outbox_oldest_seconds", [], _seconds(lag["outbox_oldest"], now)
        yield "cityhub_finding_lag_seconds", [], _seconds(lag["oldest_unhandled"], now)
        yield "cityhub_quarantine_open", [], lag["quarantined"]
        yield "cityhub_ledger_difference", [], state.ledger["difference"]
        if lag["last_sweep"] is not None:
            yield "cityhub_silence_sweep_age_seconds", [], _seconds(lag["last_sweep"], now)
        yield "cityhub_rollup_marks", [], lag["rollup_marks"]
        yield "cityhub_event_log_newest", [], lag["newest_event"]


def age(since: datetime | None, now: datetime) -> timedelta:
    """Return how long ago something was, 0 where it is not."""
    return max(now - since, timedelta(0)) if since else timedelta(0)


def _seconds(since: datetime | None, now: datetime) -> float:
    return age(since, now).total_seconds()
