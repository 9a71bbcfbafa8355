"""Back-tests over stored readings: what is raised now, by changed rules, and beside labels."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from analytics.backtest import history
from analytics.backtest.history import Span, run_history
from cityhub.cli import main
from core.tables import make_days
from devices import KINDS
from devices.registry import Registry, register
from devices.rulebook import Override, Rulebook

COVER = KINDS["manhole_cover"]
START = datetime(2026, 5, 4, tzinfo=UTC)
END = START + timedelta(days=3)
FLOODED = ("manhole_cover", "cover_flooded")


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    """Three days of two covers; water stands at 0.28 m for six hours, and at 0.45 m for six."""
    with psycopg.connect(database) as conn:
        make_days(conn, COVER.table, [(START + timedelta(days=n)).date() for n in range(3)])
        numbers = [register(conn, f"MH-000{n}", "manhole_cover").device_no for n in (1, 2)]
        names = ("ts", "seq", "device_no", "quality", *(m.name for m in COVER.metrics))
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            COVER.table.identifier, sql.SQL(", ").join(map(sql.Identifier, names))
        )
        with conn.cursor() as cursor, cursor.copy(copy) as out:
            for hour in range(72):
                for number in numbers:
                    values = {m.name: m.rest for m in COVER.metrics}
                    if number == numbers[0] and 10 <= hour < 16:
                        values["wlvl"] = 0.28
                    if number == numbers[1] and 40 <= hour < 46:
                        values["wlvl"] = 0.45
                    at = START + timedelta(hours=hour)
                    out.write_row((at, hour, number, 0, *values.values()))
        conn.execute(
            "INSERT INTO hub.device_event (ts, seq, device_no, name, active, detail)"
            " VALUES (%s, 900, %s, 'impact', NULL, '{}'), (%s, 901, %s, 'cover_open', true, '{}')",
            [START, numbers[0], START + timedelta(hours=60), numbers[0]],
        )
        conn.commit()
        yield conn


def found(
    conn: psycopg.Connection[Any], *rules: Rulebook, **more: Any
) -> list[list[tuple[Any, ...]]]:
    registry = Registry()
    registry.load(conn)
    outcomes = run_history(conn, Span(COVER, START, END, **more), registry, rules)
    conn.rollback()
    return [
        [(registry.by_no[s.device_no].device_id, s.rule_id, s.version) for s in each.spells]
        for each in outcomes
    ]


def test_changed_rules_raise_what_they_would_have_raised(conn: psycopg.Connection[Any]) -> None:
    wider = Rulebook([Override(*FLOODED, "kind", 2, {"orange": 0.5})])
    held = Rulebook([Override(*FLOODED, "kind", 2, {"hold": 7})])
    mute = Rulebook([Override(*FLOODED, "kind", 2, {"enabled": False})])
    slow = Rulebook([Override(*FLOODED, "kind", 2, {"on_delay_s": 12 * 3600})])
    opened = ("MH-0001", "cover_open", 1)
    assert found(conn, Rulebook(), wider, held, mute, slow) == [
        [("MH-0001", "cover_flooded", 1), opened],
        [("MH-0001", "cover_flooded", 2), ("MH-0002", "cover_flooded", 2), opened],
        [opened],
        [opened],
        [opened],
    ]


def test_neither_the_size_of_batches_nor_warming_up_changes_what_is_found(
    conn: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = found(conn, Rulebook())
    monkeypatch.setattr(history, "ROWS", 7)
    assert found(conn, Rulebook()) == [whole]
    assert found(conn, Rulebook(), warm_days=1.0) == [whole]


Ask = Callable[..., Any]


@pytest.fixture
def ask(
    conn: psycopg.Connection[Any],
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Ask:
    """Runs the command over the three days."""
    del conn
    monkeypatch.setenv("CITYHUB_DATABASE_URL", database)

    def run(*more: str, kind: str = "manhole_cover") -> str:
        days = ("--from", START.isoformat(), "--to", END.isoformat())
        assert main(["backtest", "--kind", kind, *days, *more]) == 0
        return capsys.readouterr().out

    return run


def test_the_command_tells_days_and_shifts_and_what_appears_and_vanishes(
    ask: Ask, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(
        json.dumps(
            [
                {"rule_id": "cover_flooded", "body": {"orange": 0.5}},
                {"rule_id": "cover_open", "scope": "device:MH-0001", "body": {"enabled": False}},
            ]
        )
    )
    told = json.loads(ask("--rules", str(rules), "--json"))
    assert told["totals"]["now"]["raised"] == told["totals"]["changed"]["raised"] == 2
    assert told["totals"]["changed"]["not_raised"] == 1
    assert [(each["device"], each["rule"]) for each in told["appear"]] == [
        ("MH-0002", "cover_flooded")
    ]
    assert [each["rule"] for each in told["vanish"]] == ["cover_open"]
    assert told["appear"][0]["explain"]["zh"].startswith("井下水位距井盖 0.45 m ≤ 0.5 m")
    busy = [(each["day"], each["shift"]) for each in told["shifts"] if each["now"]]
    assert busy == [("2026-05-04", "16-24"), ("2026-05-06", "16-24")]
    table = ask("--rules", str(rules))
    assert "changed: 2 raised (0.67 a day" in table
    assert "  + 2026-05-06T01:00:00+08:00 MH-0002 cover_flooded" in table


def test_labels_give_precision_recall_and_delay(ask: Ask, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["device", "start", "end", "rule"])
        hours = ((1, 10, 16, "cover_flooded"), (2, 40, 46, "cover_flooded"))
        for n, first, last, rule in hours:
            start, end = (START + timedelta(hours=hour) for hour in (first, last))
            rows.writerow([f"MH-000{n}", start.isoformat(), end.timestamp(), rule])
    told = json.loads(ask("--labels", str(labels), "--json"))
    assert told["labels"] == [
        {
            "labels": 2,
            "found": 1,
            "raised": 2,
            "right": 1,
            "precision": 0.5,
            "recall": 0.5,
            "delay_p50_s": 3600.0,
            "delay_p95_s": 3600.0,
            "delay_worst_s": 3600.0,
        }
    ]
    assert "labels, now: labels 2, found 1" in ask("--labels", str(labels))


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("{}", "it must be a list of objects"),
        ('[{"rule_id": "cover_flooded", "body": {"hold": 0}}]', "hold cannot be 0"),
        ('[{"rule_id": "nothing", "body": {}}]', "has no rule 'nothing'"),
        ('[{"rule": "cover_flooded"}]', "there is no 'rule'"),
    ],
)
def test_a_file_of_rules_that_cannot_be_is_refused(
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    rules: str,
    says: str,
) -> None:
    monkeypatch.setenv("CITYHUB_DATABASE_URL", database)
    path = tmp_path / "rules.json"
    path.write_text(rules)
    days = ("--from", "2026-05-04", "--to", "2026-05-07")
    assert main(["backtest", "--kind", "manhole_cover", *days, "--rules", str(path)]) == 2
    assert says in capsys.readouterr().err
