"""The oracle (裁判): what a run's senders know, held against the hub, in SQL.

It believes the ledger of the run and nothing that the hub says of itself. Each invariant has a
letter, as in the fault catalogue, and the number of its breaches: a sound hub has 0 everywhere.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from core.model import Quality, from_micros
from devices import KINDS
from simulators import alarm_score
from simulators.footprint import Footprint, footprint
from simulators.run_ledger import Key, Run

Connection = psycopg.Connection[Any]

_SHOWN: Final = 5
_GROWN_KB: Final = 64 << 10
_GROWN_DESCRIPTORS: Final = 8
_SEQ: Final = re.compile(rb'"seq":(\d+)')
_ROWS: Final = """
SELECT d.device_id, r.seq, age(r.xmin), r.quality, r.extra
  FROM {} AS r JOIN hub.device AS d USING (device_no)
 WHERE d.device_id = ANY(%s) AND r.seq BETWEEN %s AND %s
 ORDER BY age(r.xmin) DESC, r.seq
"""
_REFUSED: Final = """
SELECT split_part(topic, '/', 2), payload FROM hub.quarantine
 WHERE last_at >= %s AND split_part(topic, '/', 2) = ANY(%s)
"""
_UNBALANCED: Final = """
SELECT source || ' at ' || minute FROM hub.ledger
 WHERE minute >= date_trunc('minute', %s::timestamptz)
   AND received <> stored + duplicate + quarantined
"""
_COUNTED: Final = """
SELECT coalesce(sum(stored), 0)::bigint FROM hub.ledger
 WHERE minute >= date_trunc('minute', %s::timestamptz)
"""
_EVENTS: Final = "SELECT event_id FROM hub.event_log WHERE event_id BETWEEN %s AND %s ORDER BY 1"
_CASES: Final = """
SELECT case_no FROM hub.case
 WHERE filed_at >= %s AND (coalesce(handling_dept, owner_dept) IS NULL OR handle_due_at IS NULL)
UNION
SELECT case_no FROM hub.case
 WHERE closed_at >= %s AND (verified_at IS NULL OR verify_result IS DISTINCT FROM 'passed')
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One invariant.

    Attributes:
        letter: Its letter in the fault catalogue.
        asks: What it counts, in words.
        breaches: How many; 0 is sound.
        examples: Some of them.
    """

    letter: str
    asks: str
    breaches: int
    examples: tuple[str, ...] = ()


@dataclass(slots=True)
class Score:
    """What the oracle found.

    Attributes:
        verdicts: Each invariant that was asked for.
        sent: Messages that left.
        acked: Messages that the broker took.
        stored: Rows of the run.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    sent: int = 0
    acked: int = 0
    stored: int = 0

    @property
    def sound(self) -> bool:
        """Whether no invariant is broken."""
        return not any(verdict.breaches for verdict in self.verdicts)

    def breaches(self, letter: str) -> int:
        """Return how often an invariant is broken."""
        return sum(verdict.breaches for verdict in self.verdicts if verdict.letter == letter)

    def count(self, letter: str, asks: str, found: Iterable[object]) -> None:
        """Add an invariant with its breaches."""
        listed = [str(one) for one in found]
        self.verdicts.append(Verdict(letter, asks, len(listed), tuple(listed[:_SHOWN])))


def score(
    conn: Connection,
    run: Run,
    *,
    received: Path | None = None,
    feed: Path | None = None,
) -> Score:
    """Hold a run against the hub.

    Args:
        conn: The hub's database.
        run: What the senders know.
        received: Journal of the city-management platform's stand-in; None: not asked.
        feed: Event ids that a client of the feed saw, one a line; None: not asked.
    """
    found = Score(sent=len(run.sent), acked=len(run.acked))
    rows = _rows(conn, run)
    found.stored = len(rows)
    _judge_rows(found, conn, run, rows)
    _judge_ledger(found, conn, run)
    alarm_score.judge(found.count, conn, run, received)
    began = from_micros(run.began)
    cases = conn.execute(_CASES, [began, began]).fetchall()
    found.count("C", "filed without owner and clock, or closed unverified", (c for (c,) in cases))
    if feed is not None:
        ids = [int(line) for line in feed.read_text("ascii").split()]
        found.count("F", "gaps, repeats and reversals of the feed", feed_faults(conn, ids))
    if run.base:
        found.count("R", "processes that outgrew their base", _outgrown(run.base))
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the run, in order of its transaction."""

    key: Key
    age: int
    late: bool


def _rows(conn: Connection, run: Run) -> list[_Row]:
    if not run.sent:
        return []
    counters = [seq for _, seq in run.sent]
    statement = sql.SQL(_ROWS).format(KINDS[run.kind].table.identifier)
    # A row is late to the detectors by its place, not by its age alone: an old one keeps its
    # receive time beside it.
    return [
        _Row((device, seq), age, bool(quality & Quality.LATE) and "rx" not in (extra or {}))
        for device, seq, age, quality, extra in conn.execute(
            statement, [run.devices, min(counters), max(counters)]
        )
    ]


def _judge_rows(found: Score, conn: Connection, run: Run, rows: Sequence[_Row]) -> None:
    stored = Counter(row.key for row in rows)
    missing = {key for key in run.acked if key not in stored}
    missing -= _refused(conn, run) if missing else set()
    found.count("L", "acknowledged and absent", sorted(missing))
    twice = [key for key, number in stored.items() if number > 1]
    found.count("D", "stored more than once", sorted(twice))
    found.count("D", "stored and never sent", sorted(set(stored) - run.sent))
    found.count("O", "behind a later one of its device", _breaks(rows))


def _refused(conn: Connection, run: Run) -> set[Key]:
    """Return what is in quarantine instead."""
    rows = conn.execute(_REFUSED, [from_micros(run.began), run.devices])
    return {(device, int(seq)) for device, payload in rows for seq in _SEQ.findall(payload)}


def _breaks(rows: Sequence[_Row]) -> list[Key]:
    """Return the rows that came after a later one of their device.

    Between transactions by the order of their commits; within one by what the detectors said.
    """
    broken = []
    newest: dict[str, tuple[int, int]] = {}
    for row in rows:
        device, seq = row.key
        last, age = newest.get(device, (-1, row.age))
        if row.late or (seq < last and age != row.age):
            broken.append(row.key)
        if seq >= last:
            newest[device] = seq, row.age
    return broken


def _judge_ledger(found: Score, conn: Connection, run: Run) -> None:
    began = from_micros(run.began)
    found.count(
        "B",
        "minutes of the hub's ledger out of balance",
        (where for (where,) in conn.execute(_UNBALANCED, [began])),
    )
    ((counted,),) = conn.execute(_COUNTED, [began]).fetchall()
    short = max(0, found.stored - counted)
    found.verdicts.append(Verdict("B", "rows that the hub's ledger does not count", short))


def feed_faults(conn: Connection, ids: Sequence[int]) -> list[str]:
    """Return what is wrong with the ids that a client of the feed saw, reconnecting or not."""
    if not ids:
        return []
    wrong = [f"{after} after {before}" for before, after in pairwise(ids) if after <= before]
    log = {number for (number,) in conn.execute(_EVENTS, [min(ids), max(ids)])}
    return wrong + [f"{number} missing" for number in sorted(log - set(ids))]


def _outgrown(base: Iterable[Footprint]) -> list[str]:
    found = []
    for before in base:
        try:
            now = footprint(before.pid)
        except ProcessLookupError:
            continue  # it was killed, as is the custom here; its successor has no base
        if (
            now.rss_kb - before.rss_kb > _GROWN_KB
            or now.descriptors - before.descriptors > _GROWN_DESCRIPTORS
        ):
            found.append(f"{before} is {now}")
    return found
