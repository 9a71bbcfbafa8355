"""Back-tests over files: the contract of ``cityhub backtest --kind``, and files as they are."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.backtest import replay
from analytics.backtest.episodes import tell
from analytics.backtest.files import batches, read
from analytics.backtest.kinds import Account, run_kind
from analytics.stages import build_stages
from cityhub.cli import main
from core.batch import Finding
from core.errors import ConfigError
from core.model import Edge, Severity, Text
from devices import KINDS
from tests.batches import comparable

COVER = KINDS["manhole_cover"]
HEADER = "cover,ts,ax,ay,az,temp"
FIELDS = {"device", "detector", "kind", "severity", "ts", "value", "expected", "score", "explain"}


def lying(name: str, *, open_from: int = 120, count: int = 140) -> list[str]:
    """Lines of a cover that opens by 40 degrees in the end."""
    noise = np.random.default_rng(len(name)).normal(0, 0.005, (count, 3))
    lines = []
    for n in range(count):
        angle = math.radians(40 if n >= open_from else 0)
        x, y, z = noise[n] + (0.01, math.sin(angle), math.cos(angle))
        lines.append(f"{name},{1_760_000_000 + 60 * n},{x:.4f},{y:.4f},{z:.4f},12.5")
    return lines


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_an_opening_is_one_line_at_the_moment_it_would_have_been_raised(tmp_path: Path) -> None:
    file = write(tmp_path / "covers.csv", [*lying("C1"), *lying("C02", open_from=999)])
    account = run_kind("manhole_cover", file, tmp_path / "found.jsonl")
    (line,) = lines_of(tmp_path / "found.jsonl")
    assert account == Account(rows=280, devices=2, bad=0, lines=1)
    assert set(line) == FIELDS
    assert (line["device"], line["kind"], line["severity"]) == ("C1", "open", "red")
    assert line["ts"] == 1_760_000_000 + 60 * 121  # two rows must agree
    assert line["value"] == pytest.approx(40, abs=1)
    assert line["expected"] == 0


def test_rows_that_cannot_be_read_are_named_counted_and_left_out(tmp_path: Path) -> None:
    good = lying("C1")
    bad = [
        "C1,soon,0,0,1,12",
        "C1,1760000001,0,0,1",
        ",1760000002,0,0,1,12",
        "C1,1760000003,inf,0,1,12",
        "C1,1760000004,,,,",
        "C1,-5,0,0,1,12",
        'C1,"17600',
        "\0\0\0",
    ]
    said: list[str] = []
    file = write(tmp_path / "covers.csv", [*good[:5], *bad, "", *good[5:]])
    account = run_kind("manhole_cover", file, tmp_path / "found.jsonl", say=said.append)
    assert account == Account(rows=140, devices=1, bad=len(bad), lines=1)
    assert said[0] == f"{file}, line 7: left out, 'soon' is no number"
    assert said[-1] == f"{len(bad)} rows left out in all"
    assert [line["kind"] for line in lines_of(tmp_path / "found.jsonl")] == ["open"]


def test_a_file_of_bytes_that_are_no_text_does_not_crash(tmp_path: Path) -> None:
    file = write(tmp_path / "covers.csv", lying("C1"))
    file.write_bytes(file.read_bytes() + bytes(range(128, 256)) + b"\n" + b"9" * 200_000 + b"\n")
    said: list[str] = []
    account = run_kind("manhole_cover", file, tmp_path / "found.jsonl", say=said.append)
    assert (account.rows, account.bad, account.lines) == (140, 2, 1)


def test_a_daily_file_is_one_station_named_by_the_file(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    days = np.datetime64("2024-01-01") + np.arange(200)
    for name, step in (("dam-a", 30.0), ("dam-b", 0.0)):
        rows = [
            f"{day},{x + (step if n >= 150 else 0):.2f},{y:.2f},{z:.2f}"
            for n, (day, (x, y, z)) in enumerate(
                zip(days, chance.normal(0, (1.5, 1.5, 4.0), (200, 3)), strict=True)
            )
        ]
        write(tmp_path / f"{name}.csv", rows, "date,east_mm,north_mm,up_mm")
    run_kind("displacement_point", tmp_path, tmp_path / "found.jsonl")
    (line,) = lines_of(tmp_path / "found.jsonl")
    assert (line["device"], line["kind"]) == ("dam-a", "step")
    event = np.datetime64("2024-01-01") + 150
    assert line["ts"] in {int((event + n).astype("datetime64[s]").astype(int)) for n in (0, 1)}
    assert line["value"] == pytest.approx(30, abs=4)


def test_a_folder_may_be_told_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "one.csv", lying("C1"))
    write(folder / "two.csv", lying("C1", open_from=999))  # another cover of the same name
    account = run_kind("manhole_cover", folder, tmp_path / "out")
    assert account.lines == 1
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        "one.jsonl",
        "two.jsonl",
    ]
    assert lines_of(tmp_path / "out" / "two.jsonl") == []


def test_another_header_or_kind_is_refused_by_name(tmp_path: Path) -> None:
    file = write(tmp_path / "covers.csv", lying("C1"), "cover,ts,ax,ay,az")
    with pytest.raises(ConfigError, match="instead of cover,ts,ax,ay,az,temp"):
        run_kind("manhole_cover", file, tmp_path / "found.jsonl")
    with pytest.raises(ConfigError, match="no kind 'cover'"):
        run_kind("cover", file, tmp_path / "found.jsonl")
    with pytest.raises(ConfigError, match="no form of file for street_lamp"):
        run_kind("street_lamp", file, tmp_path / "found.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no CSV file"):
        run_kind("manhole_cover", tmp_path / "empty", tmp_path / "found.jsonl")


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_no_result_depends_on_the_size_of_batches(tmp_path: Path, size: int) -> None:
    file = write(tmp_path / "covers.csv", [*lying("C1"), *lying("C02", open_from=130)])
    readings = read(COVER, [file])

    def found(size: int) -> list[str]:
        stages = build_stages(COVER, {})
        findings = replay(stages, batches(COVER, readings, size))
        return comparable(replace(f, received_at=0) for f in findings)

    assert found(size) == found(100)


def test_only_what_begins_or_gets_graver_is_told() -> None:
    finding = Finding(
        device_no=1,
        rule_id="slope_acceleration",
        detector="slope",
        kind="acceleration",
        edge=Edge.OPEN,
        ts=1_500_000,
        first_ts=0,
        received_at=0,
        severity=Severity.ORANGE,
        explain=Text("加速", "faster"),
    )
    again = replace(finding, edge=Edge.UPDATE, flags=("ongoing",))
    red = replace(finding, edge=Edge.UPDATE, severity=Severity.RED)
    over = replace(finding, edge=Edge.CLEAR)
    other = replace(finding, kind="limit")
    lines = tell([finding, again, red, red, over, finding, other], {1: "P1"})
    assert [(line["severity"], line["ts"]) for line in lines] == [
        ("orange", 1.5),
        ("red", 1.5),
        ("orange", 1.5),
    ]


def test_the_command_writes_the_file_and_says_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "covers.csv", lying("C1"))
    out = tmp_path / "found.jsonl"
    assert main(["backtest", "--kind", "manhole_cover", str(file), "--out", str(out)]) == 0
    assert "140 rows of 1 devices, 0 left out, 1 episodes" in capsys.readouterr().err
    assert len(lines_of(out)) == 1
