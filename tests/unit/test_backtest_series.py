"""Plain series in, scores out: the contract by which anyone can judge the detector."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analytics.backtest.nab import Account, account
from analytics.backtest.series import find_files, judge_series, read_series, score_files
from cityhub.cli import main
from cityhub.suites import run_nab, run_quiet
from core.errors import ConfigError
from simulators.quiet import QUIET, ROWS, quiet_series
from tests.servers import ROOT

STREAMS = ROOT.parent / "shared" / "streams"


def write(path: Path, rows: list[tuple[str, str]], header: str = "timestamp,value") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", "utf-8")
    return path


def wave(count: int, seed: int = 1, start: int = 1_400_000_000) -> list[tuple[str, str]]:
    chance = np.random.default_rng(seed)
    values = 10 + np.sin(np.arange(count) / 40) + 0.1 * chance.standard_normal(count)
    return [(str(start + 300 * n), f"{value:.4f}") for n, value in enumerate(values)]


def scores(path: Path) -> list[float]:
    with path.open() as file:
        return [float(row["anomaly_score"]) for row in csv.DictReader(file)]


def test_each_row_keeps_its_place_and_gets_a_score(tmp_path: Path) -> None:
    rows = wave(400)
    rows[200] = rows[199]  # repeated
    rows[210] = (rows[150][0], "11")  # back in time
    rows[220] = (rows[220][0], "")  # nothing measured
    rows[230] = ("yesterday", "11")
    source = write(tmp_path / "in.csv", rows)
    said: list[str] = []
    assert score_files(source, tmp_path / "out.csv", said.append) == (1, 400, 1)
    found = scores(tmp_path / "out.csv")
    assert len(found) == 400
    assert all(0 <= score <= 1 for score in found)
    assert [found[n] for n in (200, 210, 220, 230)] == [0, 0, 0, 0]
    assert found[209] > 0 < found[211]
    assert any("line 232" in word for word in said)


def test_a_row_is_judged_by_what_came_before_it_alone(tmp_path: Path) -> None:
    rows = wave(700)
    whole = write(tmp_path / "whole.csv", [*rows[:500], *((at, "1e6") for at, _ in rows[500:])])
    part = write(tmp_path / "part.csv", rows[:500])
    for path in (whole, part):
        score_files(path, path.with_suffix(".out"), lambda _: None)
    assert scores(tmp_path / "whole.out")[:500] == scores(tmp_path / "part.out")


def test_the_files_of_a_folder_do_not_know_of_one_another(tmp_path: Path) -> None:
    for n in range(3):
        write(tmp_path / "in" / f"{n % 2}" / f"{n}.csv", wave(150 + 40 * n, seed=n))
    score_files(tmp_path / "in", tmp_path / "out", lambda _: None)
    for path in find_files(tmp_path / "in"):
        name = path.relative_to(tmp_path / "in")
        score_files(path, tmp_path / "alone.csv", lambda _: None)
        assert scores(tmp_path / "out" / name) == scores(tmp_path / "alone.csv")


def test_other_columns_stay_and_an_old_score_is_replaced(tmp_path: Path) -> None:
    rows = [(at, value, "x") for at, value in wave(3)]
    source = tmp_path / "in.csv"
    source.write_text(
        "timestamp,anomaly_score,value,label\n"
        + "".join(f"{at},0.9,{value},{label}\n" for at, value, label in rows)
    )
    score_files(source, tmp_path / "out.csv", lambda _: None)
    with (tmp_path / "out.csv").open() as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["timestamp", "value", "label", "anomaly_score"]
    assert [row["label"] for row in found] == ["x"] * 3


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("time,value\n1,2\n", "timestamp is not in"),
        ("", "timestamp and value is not in"),
        ("timestamp,value\nnever,2\n", "no row can be read"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_sentence(
    tmp_path: Path, text: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text(text)
    arguments = ["--series", str(tmp_path / "in.csv"), "--scores", str(tmp_path / "out.csv")]
    assert main(["backtest", *arguments]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_without_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no \.csv file"):
        find_files(tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        find_files(tmp_path / "none")


def test_the_earliest_alert_in_a_window_counts_and_those_outside_cost(tmp_path: Path) -> None:
    rows = wave(1_000)
    series = read_series(write(tmp_path / "in.csv", rows), tmp_path)
    pair = ("2014-05-15T02:13:20", "2014-05-15T10:33:20")  # rows 400 to 500
    alert = np.zeros(1_000, np.bool_)
    assert account(series, [pair], alert) == Account(-1.0, 1, 0, 0, 850)
    alert[[400, 450]] = True
    assert account(series, [pair], alert).score == pytest.approx(100, abs=0.1)
    alert[:] = False
    alert[[100, 900]] = True  # the first is not judged
    assert account(series, [pair], alert) == Account(-1.11, 1, 0, 1, 850)


@pytest.mark.long
def test_nab_is_scored_as_the_published_formula_does(tmp_path: Path) -> None:
    if not (STREAMS / "nab").is_dir():
        pytest.skip(f"the labelled streams are not at {STREAMS}")
    ours = run_nab(STREAMS, lambda _: None)
    score_files(STREAMS / "nab" / "data", tmp_path / "out", lambda _: None)
    theirs = json.loads(
        subprocess.run(
            [
                *(sys.executable, STREAMS / "nab_score.py", "--data", STREAMS / "nab" / "data"),
                *("--windows", STREAMS / "nab" / "windows.json", "--scores", tmp_path / "out"),
                *("--threshold", "0.5", "--json"),
            ],
            capture_output=True,
            check=True,
        ).stdout
    )["standard"]
    assert ours["score"] == pytest.approx(theirs["score"], abs=0.006)
    assert ours["windows_hit"] == theirs["windows_hit"]
    assert ours["false_alerts"] == theirs["rows_flagged_outside"]
    assert ours["score"] >= 63


def test_quiet_series_raise_no_alarm_candidate_after_their_third_day() -> None:
    report = run_quiet(lambda _: None, seeds=1)
    assert [row["series"] for row in report["series"]] == [*QUIET, *QUIET]
    assert {row["form"] for row in report["series"]} == {"rarity", "rarity_lite"}
    for row in report["series"]:
        if row["series"] != "heavy_tail":  # one seed says little of it
            assert row["candidates"] == 0, row


def test_a_quiet_series_is_the_same_for_the_same_seed() -> None:
    for name in QUIET:
        assert len(quiet_series(name, 1)) == ROWS
        assert (quiet_series(name, 1) == quiet_series(name, 1)).all()
    assert (quiet_series("white", 1) != quiet_series("white", 2)).any()


def test_nothing_is_judged_of_no_series() -> None:
    assert judge_series([]) == []
