"""Large states of detectors: in files, named by rows that commit with the log's position."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from analytics.stages.order import Order
from analytics.stages.rarity import FULL, Pace, Rarity
from core.batch import Batch, Stage
from devices import KINDS
from ingest import snapshots
from ingest.snapshots import Dump, Snapshots, save
from ingest.state_files import open_state, sweep, write_state
from tests.batches import START

LAMPS = KINDS["street_lamp"]
SECOND = 1_000_000


def make_stages() -> dict[str, list[Stage]]:
    pace = Pace(period_s=300, mute_s=0, zone="Asia/Shanghai")
    return {LAMPS.name: [Order(), Rarity(LAMPS, ["power"], FULL, pace)]}


def step(stages: dict[str, list[Stage]], n: int, devices: int = 50) -> list[bytes]:
    """Step a batch of every device; return the scores' bits."""
    chance = np.random.default_rng(n)
    ts = np.full(devices, START + n * 300 * SECOND, np.int64)
    values = np.full((len(LAMPS.reals), devices), np.nan, np.float32)
    values[[metric.name for metric in LAMPS.reals].index("power")] = chance.normal(120, 1, devices)
    batch = Batch(
        LAMPS.name,
        np.arange(1, devices + 1, dtype=np.int32),
        ts,
        ts,
        np.full(devices, -1, np.int64),
        values,
        np.full((len(LAMPS.exacts), devices), np.nan),
        np.zeros(devices, np.int16),
        int(ts[0]),
    )
    shown: list[bytes] = []
    rarity = stages[LAMPS.name][1]
    assert isinstance(rarity, Rarity)
    rarity._watcher = lambda _batch, _rows, scored: shown.append(scored.score.tobytes())
    for stage in stages[LAMPS.name]:
        stage.apply(batch)
    return shown


def written(taking: Snapshots, stages: dict[str, list[Stage]], now: int) -> list[Dump]:
    """Return the rows of a snapshot whose files are written by another thread."""
    for _ in range(500):
        rows = taking.take(stages, 10**6, now)
        if rows:
            return rows
        time.sleep(0.01)
    raise AssertionError("nothing was written")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_LARGE", 2_000)


@pytest.mark.usefixtures("large")
def test_scores_after_a_restart_from_a_file_are_equal_bit_for_bit(
    database: str, tmp_path: Path
) -> None:
    stages = make_stages()
    for n in range(120):
        step(stages, n)
    taking = Snapshots("main", SECOND, tmp_path)
    with psycopg.connect(database, autocommit=True) as conn:
        assert taking.take(stages, 7, START) == []
        going_on = [step(stages, n) for n in range(120, 140)]  # while the file is written
        save(conn, written(taking, stages, START))
        ((position, file),) = _rows(conn)
        assert position == 7
        assert (tmp_path / file).stat().st_size > 50 * 1_900
        fresh = make_stages()
        loading = Snapshots("main", SECOND, tmp_path)
        assert loading.load(conn, fresh, rescores=True) == 7
        assert [step(fresh, n) for n in range(120, 140)] == going_on
        assert [stage.dump() for stage in fresh[LAMPS.name]] == [
            stage.dump() for stage in stages[LAMPS.name]
        ]
    taking.close()


def _rows(conn: psycopg.Connection[Any]) -> list[tuple[int, str]]:
    return conn.execute(
        "SELECT position, file FROM hub.detector_state WHERE stage = 'rarity'"
    ).fetchall()


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("part", [1, 10_000, 40_000])
def test_a_state_copied_in_parts_between_batches_is_that_of_its_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(snapshots, "_PART", part)
    stages, taking = make_stages(), Snapshots("main", SECOND, tmp_path)
    for n in range(110):
        step(stages, n)
    before = [stage.dump() for stage in stages[LAMPS.name]]
    rows = taking.take(stages, 7, START)
    for n in range(110, 180):  # devices are added meanwhile
        rows = rows or taking.take(stages, n, START)
        step(stages, n, devices=50 if n < 120 else 90)
    rows = rows or written(taking, stages, START)
    taking.close()
    assert {row[4] for row in rows} == {7}
    order, rarity = rows
    assert order[5] == before[0]
    assert rarity[-1] is not None
    assert bytes(open_state(tmp_path, rarity[-1], frozen=True)) == before[1]


@pytest.mark.usefixtures("large")
def test_files_are_swept_by_the_thread_that_writes_them_and_never_during_a_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages, taking = make_stages(), Snapshots("main", SECOND, tmp_path)
    step(stages, 0)
    taking.take(stages, 1, START)
    first = written(taking, stages, START)
    swept: list[str] = []

    def note(folder: Path, source: str, keep: list[str]) -> None:
        swept.append(threading.current_thread().name)
        sweep(folder, source, keep)

    monkeypatch.setattr(snapshots, "sweep", note)
    later = START + 1_000 * SECOND
    taking.take(stages, 2, later)
    taking.take(stages, 2, later)
    assert is_writing(taking)
    taking.committed(first)
    second = written(taking, stages, later)
    taking.committed(second)
    taking.close()
    assert [name.partition("_")[0] for name in swept] == ["states-main"]
    assert [path.name for path in tmp_path.iterdir()] == [second[1][-1]]


@pytest.mark.usefixtures("large")
def test_the_files_before_go_when_the_rows_of_the_next_are_committed(
    database: str, tmp_path: Path
) -> None:
    stages, taking = make_stages(), Snapshots("main", SECOND, tmp_path)
    step(stages, 0)
    (tmp_path / "other.street_lamp.rarity.1-00000000.state").touch()
    (tmp_path / "main.street_lamp.rarity.1-00000000.state.part").touch()
    with psycopg.connect(database, autocommit=True) as conn:
        for n in range(1, 3):
            now = START + n * 1_000 * SECOND
            assert taking.take(stages, n, now) == []
            rows = written(taking, stages, now)
            save(conn, rows)
            taking.committed(rows)
            step(stages, n)
        ((_, file),) = _rows(conn)
    taking.close()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {file, "other.street_lamp.rarity.1-00000000.state"}


@pytest.mark.usefixtures("large")
def test_a_lost_or_changed_file_costs_what_was_learnt_and_no_more(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stages, taking = make_stages(), Snapshots("main", SECOND, tmp_path)
    step(stages, 0)
    taking.take(stages, 3, START)
    with psycopg.connect(database, autocommit=True) as conn:
        save(conn, written(taking, stages, START))
        taking.close()
        ((_, file),) = _rows(conn)
        data = bytearray((tmp_path / file).read_bytes())
        data[-1] ^= 1
        (tmp_path / file).write_bytes(data)
        for _ in range(2):
            fresh = make_stages()
            assert Snapshots("main", SECOND, tmp_path).load(conn, fresh, rescores=True) == 3
            rarity = fresh[LAMPS.name][1]
            assert isinstance(rarity, Rarity)
            assert rarity.state.size == 0
            assert "it learns anew" in caplog.text
            caplog.clear()
            (tmp_path / file).unlink(missing_ok=True)


def test_small_states_stay_in_their_rows(tmp_path: Path) -> None:
    stages, taking = make_stages(), Snapshots("main", SECOND, tmp_path)
    step(stages, 0)
    rows = taking.take(stages, 3, START)
    assert [row[-1] for row in rows] == [None, None]
    assert not list(tmp_path.iterdir())


def test_large_states_are_written_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_LARGE", 2_000)
    monkeypatch.setattr(snapshots, "_BYTES_A_SECOND", 1_000)
    stages, taking = make_stages(), Snapshots("main", SECOND, tmp_path)
    step(stages, 0)
    taking.take(stages, 1, START)
    written(taking, stages, START)
    assert taking.take(stages, 2, START + 90 * SECOND) == []
    assert not is_writing(taking), "100 kB at 1 kB a second are due after 100 s"
    assert taking.take(stages, 2, START + 150 * SECOND) == []
    assert is_writing(taking)
    taking.close()


def is_writing(taking: Snapshots) -> bool:
    return taking._copy is not None or taking._writing is not None


def test_a_folder_that_cannot_be_written_leaves_the_snapshot_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshots, "_LARGE", 2_000)
    (tmp_path / "states").touch()  # a file where the folder should be
    stages, taking = make_stages(), Snapshots("main", SECOND, tmp_path / "states")
    step(stages, 0)
    taking.take(stages, 1, START)
    taking.take(stages, 1, START)
    taking.close()
    assert taking.take(stages, 1, START) == []
    assert "the one before stands" in caplog.text


def test_the_bytes_of_any_state_come_back(tmp_path: Path) -> None:
    name = write_state(tmp_path, "main.a.b.1", b"any bytes")
    assert bytes(open_state(tmp_path, name, frozen=False)) == b"any bytes"
    (tmp_path / "main.a.b.1-00000000.state").write_bytes(b"any other")
    with pytest.raises(ValueError, match="another state"):
        open_state(tmp_path, "main.a.b.1-00000000.state", frozen=False)
    with pytest.raises(ValueError, match="no file name"):
        open_state(tmp_path, "../secret", frozen=False)
