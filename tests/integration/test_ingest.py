"""The way of a batch into the database: what is written, and what happens when it breaks."""

import json
import os
import random
import select
import socket
import threading
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from analytics.stages import build_stages
from analytics.stages.displacement import Displacement
from analytics.stages.limits import Limits
from core import failpoint
from core.clock import ManualClock
from core.errors import LeaseLostError
from core.model import Quality, from_micros
from core.tables import known_days
from devices import KINDS
from devices.kind import DeviceKind
from devices.native import encode_record
from devices.registry import register
from ingest import pipeline as pipeline_module
from ingest.pipeline import Pipeline, StoppedError
from tests.intake import (
    COVER,
    NOON,
    NOON_MICROS,
    SECOND,
    Stages,
    Watcher,
    add_devices,
    codes,
    count,
    cover,
    end_sessions,
    ledger,
    open_pipeline,
    query,
    raw_batch,
    retire,
    take,
    telemetry,
    values_of,
)

NOON_MS = NOON_MICROS // 1000


def point(monkeypatch: pytest.MonkeyPatch, name: str, *actions: Any) -> None:
    """Have a failpoint do these one after the other, then nothing."""
    left = list(actions)

    def act() -> None:
        if left:
            left.pop(0)()

    monkeypatch.setattr(failpoint, "_points", {name: act})


# what is written ------------------------------------------------------------------------------


def test_events_states_and_readings_of_a_message_find_their_tables(database: str) -> None:
    add_devices(database, "MH-1")
    t = NOON_MS
    take(
        database,
        [
            ("hub/MH-1/event", b'{"t":%d,"seq":3,"e":"cover_open","on":true}' % t),
            ("hub/MH-1/event", b'{"t":%d,"seq":3,"e":"cover_open","on":true}' % t),
            ("hub/MH-1/event", b'{"t":%d,"seq":4,"e":"never_heard_of"}' % t),
            ("hub/MH-1/state", b'{"t":%d,"online":true,"fw":"1.4.2"}' % t),
            ("hub/MH-1/state", b'{"t":%d,"online":false}' % (t - 1000)),
            cover("MH-1", 5),
        ],
    )
    assert query(database, "SELECT name, active, seq FROM hub.device_event ORDER BY seq") == [
        ("cover_open", True, 3),
        ("never_heard_of", None, 4),
    ]
    assert query(database, "SELECT at, online, detail FROM hub.device_state") == [
        (NOON, True, {"fw": "1.4.2"})
    ]
    assert ledger(database) == (6, 5, 1, 0)


def test_the_account_is_kept_by_the_minute_of_receipt(database: str) -> None:
    add_devices(database, "MH-1")
    messages = [cover("MH-1", i) for i in range(4)] + [telemetry("MH-1", b"?")]
    received = [NOON_MICROS + i * 30 * SECOND for i in range(5)]
    take(database, messages, received_at=received)
    take(database, messages[:3], after=5, received_at=received[:3])
    rows = query(
        database,
        "SELECT received, stored, duplicate, quarantined FROM hub.ledger ORDER BY minute",
    )
    assert rows == [(4, 2, 2, 0), (3, 2, 1, 0), (1, 0, 0, 1)]


def test_each_refusal_says_where_it_stood_and_why(database: str) -> None:
    add_devices(database, "MH-1", "MH-2", "MH-9")
    add_devices(database, "GW-1", kind="gateway")
    retire(database, "MH-9")
    reading = b'{"tilt":1}'
    take(
        database,
        [
            ("hub/MH-7/telemetry", reading),
            ("hub/MH-9/telemetry", reading),
            ("hub/MH-1/telemetry", b'{"d":"MH-2","tilt":1}'),
            ("hub/MH-1/telemetry", b'{"d":"MH-77","tilt":1}'),
            ("hub/GW-1/telemetry", reading),
            ("hub/MH-1", reading),
            ("city/MH-1/telemetry", reading),
            ("hub/MH-1/telemetry/deep", reading),
            ("hub/MH.1/telemetry", reading),
            ("hub/MH>/telemetry", reading),
            ("hub/MH-1/selfie", reading),
            ("hub/MH-1/snapshot", b"\xff\xd8"),
            ("hub/MH-1/telemetry", reading),
        ],
    )
    assert codes(database) == {
        "unknown_device": 2,
        "device_retired": 1,
        "identity": 1,
        "no_readings": 1,
        "wrong_topic": 3,
        "bad_device_id": 2,
        "unknown_message": 1,
        "snapshot_unsupported": 1,
    }
    assert query(
        database,
        "SELECT stage, position, device_no, payload, payload_length FROM hub.quarantine"
        " WHERE code = 'snapshot_unsupported'",
    ) == [("route", 12, 1, b"\xff\xd8", 2)]
    assert ledger(database) == (13, 1, 0, 12)


def test_a_gateway_speaks_for_the_devices_it_carries(database: str) -> None:
    add_devices(database, "GW-1", kind="gateway")
    add_devices(database, "MH-1", "MH-2", gateway="GW-1")
    add_devices(database, "SL-1", kind="street_lamp", gateway="GW-1")
    body = b'[{"d":"MH-1","tilt":1},{"d":"SL-1","volt":230},{"d":"MH-2","tilt":2}]'
    take(database, [telemetry("GW-1", body)])
    assert values_of(database, "device_no, tilt") == [(2, 1), (3, 2)]
    assert values_of(database, "device_no, volt", "street_lamp") == [(4, 230)]


def test_a_device_added_a_moment_ago_is_known_with_its_first_message(database: str) -> None:
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch([cover("MH-1", 1), cover("MH-2", 1)]))
        add_devices(database, "MH-2")
        pipeline.devices_changed()
        pipeline.take(raw_batch([cover("MH-2", 2)], after=2))
        add_devices(database, "MH-3")
        pipeline.take(raw_batch([cover("MH-3", 3)], after=3))
    assert values_of(database, "device_no, seq") == [(1, 1), (2, 2), (3, 3)]
    assert codes(database) == {"unknown_device": 1}


def test_an_open_hub_registers_devices_at_first_sight(database: str) -> None:
    take(
        database,
        [cover("MH-0042", 1), telemetry("ZZ-1", b'{"tilt":1}'), cover("MH-0042", 2)],
        unknown_devices="open",
    )
    assert query(database, "SELECT device_id, kind FROM hub.device") == [
        ("MH-0042", "manhole_cover")
    ]
    assert count(database, "reading_manhole_cover") == 2
    assert codes(database) == {"unknown_device": 1}


def test_last_contact_is_written_once_in_five_seconds(database: str) -> None:
    add_devices(database, "MH-1", "MH-2")
    look = "SELECT last_contact_at, last_reading_at, last_ts FROM hub.device_seen"
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch([cover("MH-1", 5), cover("MH-1", 4)]))
        assert query(database, look) == [(NOON, NOON, from_micros(NOON_MICROS - 4 * SECOND))]
        later = NOON_MICROS + 4 * SECOND
        pipeline.take(raw_batch([cover("MH-1", 3)], after=2, received_at=later))
        assert query(database, look) == [(NOON, NOON, from_micros(NOON_MICROS - 4 * SECOND))]
        later = NOON_MICROS + 5 * SECOND
        event = ("hub/MH-1/event", b'{"e":"impact"}')
        pipeline.take(raw_batch([event], after=3, received_at=later))
        assert query(database, look) == [
            (from_micros(later), NOON, from_micros(NOON_MICROS - 4 * SECOND))
        ]


def test_a_flood_of_bad_messages_is_counted_not_kept(database: str) -> None:
    add_devices(database, "MH-1")
    messages = [telemetry("MH-1", b"bad %d" % i) for i in range(1000)]
    take(database, messages)
    assert count(database, "quarantine") == 101
    assert codes(database) == {"not_json": 1000}
    assert ledger(database) == (1000, 0, 0, 1000)


def test_the_same_bytes_are_one_row_with_a_count(database: str) -> None:
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch([telemetry("MH-1", b"bad")] * 3))
        pipeline.take(raw_batch([telemetry("MH-1", b"bad")] * 2, after=3))
    assert query(database, "SELECT repeat_count, position FROM hub.quarantine") == [(5, 1)]


def test_a_wrong_clock_is_told_to_maintainers(database: str) -> None:
    add_devices(database, "MH-1")
    ahead = NOON_MICROS + 8 * 3600 * SECOND
    messages = [cover("MH-1", 1, ts=ahead), cover("MH-1", 2, ts=1000)]
    take(database, messages, build_stages=build_stages)
    assert query(database, "SELECT rule_id, edge, value, explain_en FROM hub.finding") == [
        (
            "clock_wrong",
            "open",
            8 * 3600.0,
            "the device's clock is 8 h ahead; its readings stand under the time of receipt",
        )
    ]


def test_a_wrong_clock_is_told_by_an_event_alone(database: str) -> None:
    add_devices(database, "MH-1")
    ahead = NOON_MICROS // 1000 + 8 * 3_600_000
    event = ("hub/MH-1/event", b'{"t":%d,"seq":1,"e":"impact"}' % ahead)
    take(database, [event, event], build_stages=build_stages)
    wrong = "SELECT edge, value FROM hub.finding WHERE rule_id = 'clock_wrong'"
    assert query(database, wrong) == [("open", 8 * 3600.0)]


@pytest.mark.tier_p
def test_12_no_clock_however_wrong_loses_a_reading(database: str) -> None:
    hour, year = 3600 * SECOND, 365 * 86_400 * SECOND
    clocks = [0, 1000, 9 * hour, *(NOON_MICROS + n * year for n in (-10, -2, 1, 10))]
    clocks += [NOON_MICROS + 8 * hour, NOON_MICROS + 301 * SECOND]
    add_devices(database, *[f"MH-{i}" for i in range(len(clocks))])
    messages = [cover(f"MH-{i}", i, ts=ts) for i, ts in enumerate(clocks)]
    take(database, messages, build_stages=build_stages)
    assert values_of(database, "ts, seq, quality, extra") == [
        (NOON, i, Quality.CLOCK_SUSPECT, {"t": ts // 1000}) for i, ts in enumerate(clocks)
    ]
    assert query(database, "SELECT count(DISTINCT device_no) FROM hub.finding") == [(len(clocks),)]


@pytest.mark.tier_p
def test_13_duplicates_gaps_and_disorder_end_in_the_same_rows(database: str) -> None:
    rng = random.Random(1)
    add_devices(database, "MH-1", "MH-2")
    ordered = [cover(f"MH-{1 + i % 2}", i) for i in range(200) if i % 7]
    t = NOON_MS - 86_400_000
    ordered += [telemetry("MH-1", b'{"t":%d,"tilt":%d}' % (t, n)) for n in range(5)]
    ordered += [telemetry("MH-1", b'{"t":%d,"seq":%d,"tilt":1}' % (t, n)) for n in range(5)]
    rows = "device_no, ts, seq, tilt, quality"
    take(database, ordered)
    expected = values_of(database, rows)
    query(database, "DELETE FROM hub.reading_manhole_cover RETURNING 1")
    shuffled = ordered * 3
    rng.shuffle(shuffled)
    with open_pipeline(database, source="again") as pipeline:
        for start in range(0, len(shuffled), 50):
            pipeline.take(raw_batch(shuffled[start : start + 50], after=start))
    assert values_of(database, rows) == expected
    received, stored, duplicate, _ = ledger(database)
    assert (stored, duplicate) == (2 * len(ordered), 2 * len(ordered))
    assert received == 4 * len(ordered)


# detectors ------------------------------------------------------------------------------------


def test_findings_commit_with_their_readings(database: str) -> None:
    add_devices(database, "MH-1")
    take(database, [cover("MH-1", 1, tilt=60.0)], build_stages=Stages())
    assert query(database, "SELECT device_no, rule_id FROM hub.finding") == [(1, "cover_shift")]


def test_a_value_beyond_its_sensor_raises_no_alarm_but_tells_maintainers(database: str) -> None:
    add_devices(database, "MH-1")
    messages = [cover("MH-1", 9 - i, tilt=999.0) for i in range(3)]
    take(database, messages, build_stages=build_stages)
    assert query(database, "SELECT rule_id, value FROM hub.finding") == [("out_of_range", 999.0)]
    assert values_of(database, "tilt, quality") == [(999.0, Quality.OUT_OF_RANGE)] * 3


def test_36_a_poisoned_device_leaves_the_others_to_the_detectors(database: str) -> None:
    add_devices(database, *[f"MH-{i}" for i in range(1, 8)])
    stages = Stages(poisoned=3)
    with open_pipeline(database, build_stages=stages) as pipeline:
        pipeline.take(raw_batch([cover(f"MH-{i}", 1, tilt=60.0) for i in range(1, 8)]))
        events = [(f"hub/MH-{i}/event", b'{"seq":1,"e":"impact"}') for i in range(1, 8)]
        pipeline.take(raw_batch(events, after=7))
    assert count(database, "reading_manhole_cover") == 7
    assert sorted(device for device, _ in stages.watcher.seen) == [1, 2, 4, 5, 6, 7]
    assert sorted(e.device_no for e in stages.watcher.events) == [1, 2, 4, 5, 6, 7]
    found = query(database, "SELECT rule_id, device_no FROM hub.finding ORDER BY 1, 2")
    shifts = [("cover_shift", i) for i in (1, 2, 4, 5, 6, 7)]
    assert found == [*shifts, ("stage_failed", 3)]


def test_detectors_go_on_where_they_were(database: str) -> None:
    add_devices(database, "MH-1")
    clock = ManualClock(NOON)
    with open_pipeline(database, build_stages=Stages(), clock=clock) as pipeline:
        pipeline.take(raw_batch([cover("MH-1", 1), cover("MH-1", 2)]))
        pipeline.take(raw_batch([cover("MH-1", 3)], after=2))  # no snapshot is due yet
    again = Stages()
    with open_pipeline(database, build_stages=again) as pipeline:
        assert again.watcher.seen == [(1, 1), (1, 2)]
        assert pipeline.start() == (2, 3)
        pipeline.rescore(raw_batch([cover("MH-1", 3)], after=2))
        assert again.watcher.seen == [(1, 1), (1, 2), (1, 3)]
    assert ledger(database) == (3, 3, 0, 0)


def test_a_state_of_another_version_is_not_loaded(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_devices(database, "MH-1")
    take(database, [cover("MH-1", 1)], build_stages=Stages())
    monkeypatch.setattr(Watcher, "version", 2)
    again = Stages()
    with open_pipeline(database, build_stages=again) as pipeline:
        assert again.watcher.seen == []
        assert pipeline.start() == (1, 1)


@pytest.mark.parametrize("offsets", [True, False], ids=["log", "session"])
@pytest.mark.parametrize("changed", [False, True], ids=["same version", "version changed"])
def test_what_a_detector_found_open_is_cleared_after_a_crash(
    database: str, monkeypatch: pytest.MonkeyPatch, offsets: bool, changed: bool
) -> None:
    (device,) = add_devices(database, "WG-1", kind="water_gauge", limits={"level": {"red": 4.0}})
    (other,) = add_devices(database, "MH-1")
    gauge = KINDS["water_gauge"]

    def say(pipeline: Pipeline, seq: int, *, level: float, tilt: float) -> None:
        ts = NOON_MICROS - (100 - seq) * SECOND
        reading = encode_record(gauge, {"level": level}, ts_micros=ts, seq=seq)
        messages = [telemetry("WG-1", reading), cover("MH-1", 100 - seq, tilt=tilt)]
        pipeline.take(raw_batch(messages, after=2 * seq))

    with open_pipeline(database, build_stages=build_stages, offsets=offsets) as pipeline:
        say(pipeline, 0, level=1, tilt=0.5)  # a snapshot is taken with the first batch
        for seq in (1, 2, 3):
            say(pipeline, seq, level=5, tilt=95)
    opened = {(device.device_no, "level_ladder", "open"), (other.device_no, "cover_open", "open")}
    found = "SELECT device_no, rule_id, edge FROM hub.finding WHERE NOT 'ongoing' = ANY(flags)"
    assert set(query(database, found)) == opened
    if changed:
        monkeypatch.setattr(Limits, "version", 1000)
        monkeypatch.setattr(Displacement, "version", 1000)
    with open_pipeline(database, build_stages=build_stages, offsets=offsets) as pipeline:
        start, committed = pipeline.start()
        assert committed == (8 if offsets else 0)
        if offsets:  # what a worker does with the rows behind the snapshot
            assert start == 2
            for seq in (1, 2, 3):
                ts = NOON_MICROS - (100 - seq) * SECOND
                reading = encode_record(gauge, {"level": 5}, ts_micros=ts, seq=seq)
                messages = [telemetry("WG-1", reading), cover("MH-1", 100 - seq, tilt=95)]
                pipeline.rescore(raw_batch(messages, after=2 * seq))
        for seq in (4, 5, 6, 7):
            say(pipeline, seq, level=1, tilt=0.5)
    cleared = {(number, rule, "clear") for number, rule, _ in opened}
    assert set(query(database, found)) == opened | cleared


# when it breaks -------------------------------------------------------------------------------


@pytest.mark.parametrize("offsets", [True, False], ids=["log", "session"])
def test_8_a_commit_whose_answer_is_lost_is_not_done_twice(
    database: str, monkeypatch: pytest.MonkeyPatch, offsets: bool
) -> None:
    add_devices(database, "MH-1")
    stages = Stages()
    with open_pipeline(database, build_stages=stages, offsets=offsets) as pipeline:
        point(monkeypatch, "ingest.inside_commit", lambda: lose_answer(pipeline))
        messages = [cover("MH-1", 1, tilt=60.0), telemetry("MH-1", b"?")]
        pipeline.take(raw_batch(messages))
        pipeline.take(raw_batch([cover("MH-1", 2)], after=2))
    assert [seq for _, seq in stages.watcher.seen] == [1, 2]
    assert ledger(database) == (3, 2, 0, 1)
    assert count(database, "finding") == 1
    assert codes(database) == {"not_json": 1}


@pytest.mark.parametrize("offsets", [True, False], ids=["log", "session"])
def test_8_a_commit_that_never_reached_the_server_is_done_again(
    database: str, monkeypatch: pytest.MonkeyPatch, offsets: bool
) -> None:
    """The worker cannot tell this from a lost answer; the fence can."""
    add_devices(database, "MH-1")
    with open_pipeline(database, offsets=offsets) as pipeline:

        def refuse() -> None:
            lose_answer(pipeline)
            query(database, "DELETE FROM hub.reading_manhole_cover RETURNING 1")
            query(database, "DELETE FROM hub.ledger RETURNING 1")
            query(database, "UPDATE hub.source_offset SET position = 0 RETURNING 1")

        point(monkeypatch, "ingest.inside_commit", refuse)
        pipeline.take(raw_batch([cover("MH-1", 1)]))
    assert ledger(database) == (1, 1, 0, 0)
    assert values_of(database, "seq") == [(1,)]


def lose_answer(pipeline: Pipeline) -> None:
    """Wait for the server's answer, take it off the wire, and cut the connection."""
    conn = pipeline._writer.connect()
    with socket.socket(fileno=os.dup(conn.fileno())) as wire:
        select.select([wire], [], [], 10)
        wire.recv(65_536)
        wire.shutdown(socket.SHUT_RDWR)


def test_8_a_connection_cut_before_commit_writes_all_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_devices(database, "MH-1")
    for name in ("ingest.before_copy", "ingest.after_copy", "ingest.before_commit"):
        stages = Stages()
        with open_pipeline(database, build_stages=stages, source=name[7:]) as pipeline:
            point(monkeypatch, name, lambda: end_sessions(database))
            pipeline.take(raw_batch([cover("MH-1", len(name), tilt=60.0)]))
        assert stages.watcher.seen == [(1, len(name))]
    assert ledger(database) == (3, 3, 0, 0)
    assert count(database, "finding") == 3


def test_6_a_database_that_is_away_is_waited_for(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "PAUSES", (0.01,))
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        point(monkeypatch, "ingest.after_copy", *[lambda: end_sessions(database)] * 5)
        pipeline.take(raw_batch([cover("MH-1", 1)]))
    assert ledger(database) == (1, 1, 0, 0)


def test_a_worker_that_is_told_to_stop_stops_waiting(database: str, server_url: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with open_pipeline(database) as pipeline:
        pipeline.close()
        with psycopg.connect(server_url, autocommit=True) as conn:
            conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        timer = threading.Timer(0.3, pipeline.stop)
        timer.start()
        with pytest.raises(StoppedError):
            pipeline.take(raw_batch([cover("MH-1", 1)]))
        timer.join()


def test_5_a_worker_that_was_replaced_writes_nothing(database: str) -> None:
    add_devices(database, "MH-1")
    with open_pipeline(database) as zombie:
        take(database, [cover("MH-1", 1)])
        with pytest.raises(LeaseLostError):
            zombie.take(raw_batch([cover("MH-1", 2)]))
    assert ledger(database) == (1, 1, 0, 0)


def test_5_a_session_that_was_replaced_writes_nothing(database: str) -> None:
    add_devices(database, "MH-1")
    with open_pipeline(database, offsets=False) as zombie:
        with psycopg.connect(database) as conn:
            conn.execute("UPDATE hub.source_offset SET epoch = 2")
        with pytest.raises(LeaseLostError):
            zombie.take(raw_batch([cover("MH-1", 1)], epoch=1))
        zombie.take(raw_batch([cover("MH-1", 2)], epoch=2))
    assert values_of(database, "seq") == [(2,)]


def test_a_stopped_worker_lets_the_fence_go(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zombie in the midst of its transaction holds the row that its successor must move."""
    add_devices(database, "MH-1")
    seen: list[Any] = []
    with open_pipeline(database) as pipeline:

        def look() -> None:
            conn = pipeline._writer.connect()
            seen.extend(conn.execute("SHOW idle_in_transaction_session_timeout").fetchall())

        point(monkeypatch, "ingest.after_copy", look)
        pipeline.take(raw_batch([cover("MH-1", 1)]))
    assert seen == [("10s",)]


def test_two_workers_of_two_sources_do_not_stand_in_each_others_way(database: str) -> None:
    add_devices(database, *[f"MH-{i}" for i in range(20)])
    failed: list[BaseException] = []

    def work(source: str, step: int) -> None:
        try:
            with open_pipeline(database, source=source) as pipeline:
                for i in range(20):
                    messages = [cover(f"MH-{j}", i) for j in range(20)][::step]
                    pipeline.take(raw_batch(messages, after=i * 20))
        except BaseException as error:  # noqa: BLE001 - told by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=work, args=args) for args in (("a", 1), ("b", -1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert count(database, "reading_manhole_cover") == 400
    assert ledger(database) == (800, 400, 400, 0)


def test_a_redelivered_backlog_is_recognised_and_then_over(database: str) -> None:
    """After a duplicate the writer keeps to the detour while there are some, then leaves it."""
    add_devices(database, "MH-1")
    with open_pipeline(database) as pipeline:
        for i, first in enumerate([0, 0, 5, 10, 20]):
            messages = [cover("MH-1", first + j) for j in range(10)]
            pipeline.take(raw_batch(messages, after=i * 10))
    assert ledger(database) == (50, 30, 20, 0)


def test_registering_while_reading_does_not_lose_the_registry(database: str) -> None:
    with psycopg.connect(database) as conn:
        register(conn, "MH-1", "manhole_cover", limits={"wlvl": {"orange": 0.5}})
    limits: list[Mapping[int, Mapping[str, Any]]] = []

    def build(kind: DeviceKind, live: Mapping[int, Mapping[str, Any]]) -> Sequence[Watcher]:
        del kind
        limits.append(live)
        return []

    with open_pipeline(database, build_stages=build) as pipeline:
        pipeline.take(raw_batch([cover("MH-1", 1)]))
        assert limits[0][1] == {"wlvl": {"orange": 0.5}}


def test_the_partition_of_tomorrow_is_there_before_anybody_needs_it(database: str) -> None:
    add_devices(database, "MH-1")
    take(database, [cover("MH-1", 1, ts=NOON_MICROS - 3 * 86_400 * SECOND)])
    with psycopg.connect(database) as conn:
        days = known_days(conn, COVER.table)
    assert days == {date(2026, 4, 28), NOON.date(), date(2026, 5, 2)}


def test_a_message_of_400_new_days_makes_a_hundred_and_the_rest_waits(database: str) -> None:
    """A day costs the server some milliseconds, and all others would wait for 400 of them."""
    add_devices(database, "MH-1")
    day_ms = 86_400_000
    records = [{"t": NOON_MICROS // 1000 - i * day_ms, "tilt": 1.0} for i in range(400)]
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch([telemetry("MH-1", json.dumps(records).encode())]))
        assert ledger(database) == (400, 100, 0, 300)
        assert codes(database) == {"too_many_days": 300}
        with psycopg.connect(database) as conn:
            assert len(known_days(conn, KINDS["manhole_cover"].table)) == 101  # and tomorrow
        oldest = "SELECT min(ts) FROM hub.reading_manhole_cover"
        assert query(database, oldest) == [(NOON - timedelta(days=99),)]
        pipeline.take(raw_batch([cover("MH-1", 1)], after=1))
    assert ledger(database) == (401, 101, 0, 300)
