"""The duty desk on the command line, as a person types it."""

import json

import psycopg
import pytest

from cityhub.cli import main
from core.clock import ManualClock
from core.db import Pool
from core.model import Severity
from tests.desk import NOON, Desk, finding


@pytest.fixture
async def desk(pool: Pool, database: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("CITYHUB_DATABASE_URL", database)
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    await desk.find(
        finding(await desk.cover(), rule_id="cover_shift", severity=Severity.ORANGE),
        finding(await desk.cover("MH-2")),
    )
    await desk.work()
    return desk


def test_a_shift_leader_shelves_what_an_operator_may_not(
    desk: Desk, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    red = ["alarm", "shelve", "2", "--as", "陈", "--minutes", "20", "--reason", "在修"]
    assert main(red) == 1
    assert "only the shift leader" in capsys.readouterr().err
    assert main(["staff", "set", "陈", "shift_leader"]) == 0
    assert main(red) == 0
    assert main(["alarm", "unshelve", "2", "--as", "陈"]) == 0
    assert main(["staff", "list", "--json"]) == 0
    assert '"陈"' in capsys.readouterr().out
    with psycopg.connect(database) as conn:
        rows = conn.execute("SELECT action, outcome FROM hub.audit ORDER BY audit_id").fetchall()
    assert rows == [
        ("shelve", "refused"), ("give_role", "done"), ("shelve", "done"), ("unshelve", "done"),
    ]  # fmt: skip


def test_a_window_is_opened_listed_and_ended(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = ["window", "open", "device", "MH-1", "--as", "王", "--hours", "2", "--reason", "换盖"]
    assert main(opened) == 0
    assert main(["window", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (listed[0]["targets"], listed[0]["state"]) == (["MH-1"], "planned")
    assert main(["window", "end", "1", "--as", "王"]) == 0
    assert main(["window", "end", "1", "--as", "王"]) == 1


def test_the_roster_is_data(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    starts = ["--from", "2026-11-21T08:00+08:00", "--to", "2026-11-21T20:00+08:00"]
    assert main(["roster", "add", "duty_director", "李", "--contact", "139", *starts]) == 0
    assert main(["roster", "list"]) == 0
    assert "duty_director  李  139" in capsys.readouterr().out
    assert main(["roster", "remove", "1"]) == 0
    assert main(["roster", "remove", "1"]) == 1


def test_the_log_is_walked_and_the_first_broken_link_named(
    desk: Desk, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "verify"]) == 0
    assert "the event log is whole" in capsys.readouterr().out
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("DELETE FROM hub.event_log WHERE event_id = 2")
    assert main(["audit", "verify", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["whole"], report["event_id"]) == (False, 3)
