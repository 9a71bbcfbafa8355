"""The storage bench in small: its history is what it says, and its answers are whole."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from cityhub.bench.history import KIND, History, plan, write
from cityhub.bench.storage import MOST_BYTES, run
from tests.intake import query

END = datetime(2026, 5, 1, tzinfo=UTC)


async def test_every_question_is_answered_in_full() -> None:
    said: list[str] = []
    report = await run(rows=20_000, devices=200, days=6, rounds=2, say=said.append)
    assert report["rows"] == pytest.approx(20_000, rel=0.1)
    for answer in report["answers"]:
        assert answer["rows"] == answer["rows_expected"], answer["question"]
        assert len(answer["samples_ms"]) == 2
        assert any("Execution Time" in line for line in answer["plan"])
    assert len(report["answers"]) == 5
    assert report["disk"]["share_of_narrow"] < report["disk"]["goal_share"]


def test_a_message_of_ten_metrics_takes_at_most_175_bytes(database: str) -> None:
    """With its index, in the order of its arrival; fixed parts of a partition are left to scale."""
    write(database, History(500, 1, 500, 1, END), lambda _: None)
    size = "SELECT pg_total_relation_size('hub.reading_manhole_cover_20260430')::int8"
    rows = 500 * 288
    assert query(database, size)[0][0] / rows <= MOST_BYTES


def test_a_history_has_the_rows_that_it_says(database: str) -> None:
    history = plan(rows=3_000, devices=50, days=4, end=END)
    write(database, history, lambda _: None)
    with psycopg.connect(database, autocommit=True) as conn:
        # Stopped in the middle, it goes on with what is missing.
        conn.execute("DELETE FROM bench_day WHERE day = 2")
        conn.execute("TRUNCATE hub.reading_manhole_cover_20260429")
    write(database, history, lambda _: None)
    with psycopg.connect(database, autocommit=True) as conn:
        counted = conn.execute(
            sql.SQL("SELECT count(*), count(DISTINCT device_no), min(ts), max(ts) FROM {}").format(
                KIND.table.identifier
            )
        ).fetchall()
    ((rows, devices, first, last),) = counted
    assert (rows, devices) == (history.rows, 50)
    assert history.start <= first < history.start + timedelta(minutes=5)
    assert END - timedelta(minutes=5) <= last < END


def test_a_history_scales_to_the_rows_asked_for() -> None:
    for rows in (2_000_000, 20_000_000, 100_000_000):
        history = plan(rows=rows, devices=100_000, days=365, end=END)
        assert history.rows == pytest.approx(rows, rel=0.06)
