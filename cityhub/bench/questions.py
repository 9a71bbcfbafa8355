"""What readers ask of a year of readings, each question with its goal, its answer and its plan."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import psycopg
from psycopg import sql

from cityhub.bench.drain import cpu_of
from cityhub.bench.history import KIND, History
from core.rollup_tables import last_table
from core.rollups import FIGURES, Level, RollupTable, figure

_METRIC: Final = "tilt"


@dataclass(frozen=True, slots=True)
class Question:
    """A question.

    Attributes:
        name: Short, for the report.
        goal_ms: It should be answered within so many milliseconds, to the last row.
        query: The SQL.
        parameters: Of round number ``n``: each asks about another device.
        rows: How many rows the answer must have.
    """

    name: str
    goal_ms: float
    query: sql.Composed
    parameters: Callable[[int], Sequence[Any]]
    rows: int


def questions(history: History) -> list[Question]:
    """Return all questions about a history."""
    columns = sql.SQL(", ").join(map(sql.Identifier, KIND.table.names))

    def device(number: int) -> int:
        return number * 7919 % history.dense + 1

    def of_day(number: int) -> Sequence[Any]:
        start = history.start + timedelta(days=number * 53 % history.days)
        return [device(number), start, start + timedelta(days=1)]

    def of_year(number: int) -> Sequence[Any]:
        return [device(number), history.start, history.end]

    day = sql.SQL(
        "SELECT {} FROM {} WHERE device_no = %s AND ts >= %s AND ts < %s ORDER BY ts"
    ).format(columns, KIND.table.identifier)
    latest = sql.SQL("SELECT device_no, ts, {} FROM {}").format(
        sql.Identifier(_METRIC), sql.Identifier("hub", f"latest_{KIND.name}")
    )
    # The city's midnights lie between those of UTC, so the ends cut two days.
    return [
        Question("one device's day, all metrics", 20, day, of_day, 288),
        Question("a year of one metric by day", 50, _year(Level.DAY), of_year, history.days),
        Question("a year of one metric by hour", 50, _year(Level.HOUR), of_year, history.days * 24),
        Question("last value of every device", 200, latest, lambda _: [], history.devices),
    ]


def forget_some(conn: psycopg.Connection[Any], history: History) -> Question:
    """Have every third device heard since the job's last pass, and return the same question."""
    conn.execute(sql.SQL("DELETE FROM {} WHERE device_no % 3 = 0").format(last_table(KIND.table)))
    return replace(questions(history)[-1], name="the same, every third heard since the last pass")


def _year(level: Level) -> sql.Composed:
    return sql.SQL(
        "SELECT at, {} FROM {} WHERE device_no = %s AND at >= %s AND at < %s ORDER BY at"
    ).format(
        sql.SQL(", ").join(figure(_METRIC, word) for word in FIGURES),
        RollupTable(KIND.table, level).identifier,
    )


def ask(conn: psycopg.Connection[Any], question: Question, rounds: int) -> dict[str, Any]:
    """Ask a question, each time of another device; return the times and the last plan.

    The first time is told apart: it pays for the plan, and perhaps for the disk. The CPU time of
    server and client together says what is left where others want the machine, too.
    """
    times, rows = [], 0
    before = cpu_of(conn.info.backend_pid) + time.process_time()
    for number in range(rounds + 1):
        start = time.perf_counter()
        with conn.cursor(binary=True) as cursor:
            rows = len(cursor.execute(question.query, question.parameters(number)).fetchall())
        times.append((time.perf_counter() - start) * 1000)
    cpu = cpu_of(conn.info.backend_pid) + time.process_time() - before
    explain = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) {}").format(question.query)
    lines = [line for (line,) in conn.execute(explain, question.parameters(rounds)).fetchall()]
    median = statistics.median(times[1:])
    return {
        "question": question.name,
        "goal_ms": question.goal_ms,
        "median_ms": round(median, 2),
        "met": median <= question.goal_ms,
        "cpu_ms": round(cpu / (rounds + 1) * 1000, 2),
        "first_ms": round(times[0], 2),
        "samples_ms": [round(sample, 2) for sample in times[1:]],
        "rows": rows,
        "rows_expected": question.rows,
        "plan": _executed(lines),
    }


def _executed(lines: Sequence[str]) -> list[str]:
    """Return a plan without the partitions it never looked into, which may be hundreds.

    >>> _executed(["Append", "  ->  Scan a (never executed)", "      Index Cond: b", "  -> Scan c"])
    ['Append', '  -> Scan c']
    """
    kept: list[str] = []
    hidden: int | None = None
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if hidden is not None and depth > hidden:
            continue
        hidden = depth if "(never executed)" in line else None
        if hidden is None:
            kept.append(line)
    return kept
