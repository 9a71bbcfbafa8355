"""Who fell silent in a file: judged by each device's own pace, whatever it is."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from analytics.backtest.kinds import run_kind

KIND = "water_gauge"
HOUR = 3_600


def lost(tmp_path: Path, rows: Sequence[tuple[str, float]]) -> list[str]:
    """Return the devices of the lines that say lost."""
    path, out = tmp_path / "in.csv", tmp_path / "made" / "out.jsonl"
    lines = [f"{name},{ts:.0f},1.00" for name, ts in sorted(rows, key=lambda row: row[1])]
    path.write_text("gauge,ts,level_m\n" + "\n".join(lines) + "\n", "utf-8")
    run_kind(KIND, path, out, say=lambda _: None)
    found = out.read_text("utf-8").splitlines()
    return [line for line in found if '"kind": "lost"' in line]


@pytest.mark.parametrize("period", [300, 900, 1_200, HOUR])
def test_a_gauge_that_speaks_seldom_is_not_lost_for_it(tmp_path: Path, period: int) -> None:
    chance = random.Random(5)
    rows = [
        (f"G{gauge}", row * period + chance.uniform(0, 20) + 7 * gauge)
        for gauge in range(3)
        for row in range(5 * 24 * HOUR // period)
    ]
    assert lost(tmp_path, rows) == []


@pytest.mark.parametrize("period", [300, HOUR])
def test_a_gauge_that_is_silent_for_ten_periods_is_lost_once(tmp_path: Path, period: int) -> None:
    rows = [(f"G{g}", r * period + 7 * g) for g in range(3) for r in range(100)]
    gone = [row for row in rows if not (row[0] == "G1" and 50 * period < row[1] < 60 * period)]
    found = lost(tmp_path, gone)
    assert len(found) == 1
    assert '"device": "G1"' in found[0]
