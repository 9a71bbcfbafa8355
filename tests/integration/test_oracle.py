"""The oracle can tell: what is lost, doubled, reordered or made up is each reported."""

import os
from pathlib import Path

import psycopg
import pytest

from core.model import Quality
from simulators.footprint import Footprint, footprint
from simulators.oracle import Score, feed_faults, score
from simulators.run_ledger import Run, RunLedger, read_run
from tests.intake import NOON_MICROS, SECOND, Message, add_devices, cover, raw_batch
from tests.intake import open_pipeline as opened


def run_of(path: Path, number: int, *, unacked: int = 0) -> Run:
    """Return a run of two devices that sent so many readings each."""
    book = RunLedger(path)
    book.begin("manhole_cover", NOON_MICROS)
    keys = [(device, seq) for seq in range(number) for device in ("MH-1", "MH-2")]
    book.sending(keys)
    book.acknowledged(keys[: len(keys) - unacked])
    book.close()
    return read_run(path)


def reading(device: str, seq: int, *, late_s: int = 0) -> Message:
    return cover(device, seq, ts=NOON_MICROS - 60 * SECOND + (seq - late_s) * SECOND)


def store(database: str, *batches: list[Message]) -> None:
    add_devices(database, "MH-1", "MH-2")
    after = 0
    with opened(database) as pipeline:
        for batch in batches:
            pipeline.take(raw_batch(batch, after=after, received_at=NOON_MICROS))
            after += len(batch)


def judged(database: str, run: Run, **files: Path) -> Score:
    with psycopg.connect(database) as conn:
        return score(conn, run, **files)


def wholly(number: int) -> list[list[Message]]:
    return [[reading("MH-1", seq), reading("MH-2", seq)] for seq in range(number)]


def test_a_sound_run_has_no_breach(database: str, tmp_path: Path) -> None:
    store(database, *wholly(5))
    found = judged(database, run_of(tmp_path / "run", 5))
    assert found.sound, found
    assert (found.sent, found.acked, found.stored) == (10, 10, 10)
    assert {verdict.letter for verdict in found.verdicts} == set("LDOBAC")


def test_a_message_that_was_never_acknowledged_may_be_missing(
    database: str, tmp_path: Path
) -> None:
    *rest, (first, _) = wholly(5)
    store(database, *rest, [first])
    assert judged(database, run_of(tmp_path / "run", 5, unacked=1)).sound


def test_a_lost_message_is_reported(database: str, tmp_path: Path) -> None:
    batches = wholly(5)
    del batches[2][1]
    store(database, *batches)
    found = judged(database, run_of(tmp_path / "run", 5))
    assert not found.sound
    assert found.breaches("L") == 1
    assert found.verdicts[0].examples == ("('MH-2', 2)",)


def test_a_message_in_quarantine_is_not_lost(database: str, tmp_path: Path) -> None:
    batches = wholly(5)
    batches[2][1] = ("hub/MH-2/telemetry", b'{"seq":2,"tilt":"broken"}')
    store(database, *batches)
    assert judged(database, run_of(tmp_path / "run", 5)).breaches("L") == 0


def test_a_doubled_message_is_reported(database: str, tmp_path: Path) -> None:
    store(database, *wholly(5), [reading("MH-1", 4, late_s=-1)])
    assert judged(database, run_of(tmp_path / "run", 5)).breaches("D") == 1


def test_a_message_that_nobody_sent_is_reported(database: str, tmp_path: Path) -> None:
    store(database, *wholly(5))
    found = judged(database, run_of(tmp_path / "run", 4))
    assert found.breaches("D") == 0  # beyond the run's counters: another run's
    run = run_of(tmp_path / "other", 5)
    run.sent.discard(("MH-1", 3))
    run.acked.pop(("MH-1", 3))
    assert judged(database, run).breaches("D") == 1


def test_a_reordered_message_is_reported(database: str, tmp_path: Path) -> None:
    batches = wholly(5)
    batches[1], batches[3] = batches[3], batches[1]
    store(database, *batches)
    assert judged(database, run_of(tmp_path / "run", 5)).breaches("O") == 4


def test_what_the_detectors_saw_out_of_order_is_reported(database: str, tmp_path: Path) -> None:
    store(database, *wholly(5))
    with psycopg.connect(database) as conn:
        conn.execute(
            "UPDATE hub.reading_manhole_cover SET quality = %s WHERE seq = 3", [int(Quality.LATE)]
        )
    assert judged(database, run_of(tmp_path / "run", 5)).breaches("O") >= 2


def test_a_row_that_the_hub_does_not_count_is_reported(database: str, tmp_path: Path) -> None:
    store(database, *wholly(5))
    with psycopg.connect(database) as conn:
        conn.execute("UPDATE hub.ledger SET stored = stored - 1, duplicate = duplicate + 1")
    assert judged(database, run_of(tmp_path / "run", 5)).breaches("B") == 1


def test_alarms_are_held_to_what_must_come(database: str, tmp_path: Path) -> None:
    store(database, *wholly(2))
    run = run_of(tmp_path / "run", 2)
    assert judged(database, run).breaches("A") == 0
    run.alarms["MH-1", "cover_open"] = True
    assert judged(database, run).breaches("A") == 1, "never raised"
    raise_alarm(database, 1)
    assert judged(database, run).breaches("A") == 1, "raised, never filed"
    raise_alarm(database, 1, cleared=True)
    assert judged(database, run).breaches("A") == 2, "raised twice, never filed"
    run.alarms.clear()
    assert judged(database, run).breaches("A") == 2, "raised twice, and without a cause"


def raise_alarm(database: str, device_no: int, *, cleared: bool = False) -> None:
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO hub.alarm (rule_id, device_no, kind, audience, severity, severity_peak,"
            " condition_state, started_at, raised_at, received_at, last_seen_at, explain_zh,"
            " explain_en) SELECT 'cover_open', %s, 'manhole_cover', 'city', 4, 4, %s, t, t, t, t,"
            " '', '' FROM to_timestamp(%s) AS t",
            [device_no, "cleared" if cleared else "active", NOON_MICROS / 1e6],
        )


def test_a_feed_with_a_gap_a_repeat_or_a_reversal_is_reported(
    database: str, tmp_path: Path
) -> None:
    with psycopg.connect(database) as conn:
        for _ in range(6):
            conn.execute(
                "SELECT hub.append_event('alarm', 1::int2, now(), 't', 'alarm', '1', 'raised',"
                " null, null, null, '{}')"
            )
        assert feed_faults(conn, [2, 3, 4, 5]) == []
        assert feed_faults(conn, [2, 3, 5]) == ["4 missing"]
        assert feed_faults(conn, [2, 3, 3, 4]) == ["3 after 3"]
        assert feed_faults(conn, [2, 4, 3]) == ["3 after 4"]
        assert feed_faults(conn, []) == []
    store(database, *wholly(1))
    feed = tmp_path / "feed"
    feed.write_text("1\n3\n", "ascii")
    assert judged(database, run_of(tmp_path / "run", 1), feed=feed).breaches("F") == 1


def test_a_process_that_outgrew_its_base_is_reported(database: str, tmp_path: Path) -> None:
    store(database, *wholly(1))
    run = run_of(tmp_path / "run", 1)
    here = footprint(os.getpid())
    run.base = [here]
    assert judged(database, run).breaches("R") == 0
    run.base = [Footprint(here.pid, here.rss_kb - (70 << 10), here.descriptors)]
    assert judged(database, run).breaches("R") == 1
    run.base = [Footprint(here.pid, here.rss_kb, here.descriptors - 20)]
    assert judged(database, run).breaches("R") == 1


def test_a_run_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run"
    book = RunLedger(path)
    book.begin("manhole_cover", 7)
    book.sending([("MH-1", 1), ("MH-1", 2)])
    book.acknowledged([("MH-1", 1)])
    book.expect_alarm("MH-1", "cover_open", dispatched=True)
    book.fault(9, "worker killed")
    book.base(Footprint(1, 2, 3))
    book.close()
    with path.open("a") as torn:
        torn.write('["acked", "MH-1"')
    run = read_run(path)
    assert run == Run(
        kind="manhole_cover",
        began=7,
        sent={("MH-1", 1), ("MH-1", 2)},
        acked=run.acked,
        alarms={("MH-1", "cover_open"): True},
        faults=[(9, "worker killed")],
        base=[Footprint(1, 2, 3)],
    )
    assert run.acked == {("MH-1", 1): 1}
    assert run.devices == ["MH-1"]


@pytest.mark.parametrize("text", ['["acked","MH-1",1]\n', '["run",1]\n', '["sold",1]\n'])
def test_another_file_is_no_run_ledger(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").write_text(text, "utf-8")
    with pytest.raises(ValueError, match="run ledger"):
        read_run(tmp_path / "run")
