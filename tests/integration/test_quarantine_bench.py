"""The quarantine bench: what could not be read is found, understood, mended, and taken up again."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from analytics.stages import build_stages
from core.clock import ManualClock
from core.errors import ConflictError, NotFoundError
from core.model import Quality
from core.settings import Ingest
from ingest.bench import QuarantineBench
from tests.intake import (
    NOON,
    NOON_MICROS,
    SECOND,
    add_devices,
    codes,
    count,
    cover,
    ledger,
    open_pipeline,
    query,
    raw_batch,
    take,
    telemetry,
    values_of,
)

T = NOON_MICROS // 1000
LATER = NOON + timedelta(days=1)


def bench(url: str, **settings: Any) -> QuarantineBench:
    """The bench, a day after everything was received."""
    return QuarantineBench(url, Ingest(**settings), ManualClock(LATER))


def body(**fields: Any) -> bytes:
    return json.dumps({"t": T, **fields}).encode()


def states(url: str) -> list[tuple[Any, ...]]:
    return query(url, "SELECT quarantine_id, state FROM hub.quarantine ORDER BY 1")


def account(url: str, source: str) -> list[tuple[Any, ...]]:
    return query(
        url,
        "SELECT minute, received, stored, duplicate, quarantined FROM hub.ledger"
        " WHERE source = %s ORDER BY minute",
        source,
    )


def audit(url: str) -> list[tuple[Any, ...]]:
    return query(url, "SELECT actor, action, object_id, outcome FROM hub.audit ORDER BY audit_id")


async def test_a_mended_message_is_stored_with_its_own_time_and_never_sounds(
    database: str,
) -> None:
    add_devices(database, "MH-1")
    wrong = body(seq=4, tilt="88.5", batt="3.6")
    take(database, [telemetry("MH-1", wrong)], build_stages=build_stages)
    done = await bench(database).redrive(
        actor="wang", ids=(1,), mapping={"scale": {"tilt": 1, "batt": 1}}
    )
    assert {k: done[k] for k in ("redriven", "received", "stored", "refused")} == {
        "redriven": 1,
        "received": 1,
        "stored": 1,
        "refused": [],
    }
    assert values_of(database, "ts, seq, tilt, quality") == [(NOON, 4, 88.5, int(Quality.BACKLOG))]
    assert count(database, "finding") == 0
    assert count(database, "device_seen") == 0
    assert query(
        database, "SELECT state, settled_by, settled_at, mapping -> 'scale' FROM hub.quarantine"
    ) == [("redriven", "wang", LATER, {"tilt": 1.0, "batt": 1.0})]
    assert audit(database) == [("wang", "redrive", "1", "done")]


async def test_the_account_says_what_became_of_it_later_and_stays_exact(database: str) -> None:
    add_devices(database, "MH-1")
    take(database, [telemetry("MH-1", body(seq=1, tilt="2")), cover("MH-1", 7)])
    assert ledger(database) == (2, 1, 0, 1)
    await bench(database).redrive(actor="wang", ids=(1,), mapping={"scale": {"tilt": 1}})
    assert account(database, "test") == [(NOON, 2, 1, 0, 1)]
    assert account(database, "redrive") == [(NOON, 1, 1, 0, 0)]  # the minute of first receipt


async def test_a_message_of_a_device_that_was_registered_later_is_stored(database: str) -> None:
    take(database, [cover("MH-1", 1), cover("MH-1", 2)])
    assert codes(database) == {"unknown_device": 2}
    refused = await bench(database).redrive(actor="wang", code="unknown_device")
    assert [each["quarantine_id"] for each in refused["refused"]] == [1, 2]
    assert "register it" in refused["refused"][0]["why"]["en"]
    add_devices(database, "MH-1")
    done = await bench(database).redrive(actor="wang", code="unknown_device", prefix="MH")
    assert (done["redriven"], done["stored"]) == (2, 2)
    assert [seq for (seq,) in values_of(database, "seq")] == [2, 1]
    assert [each[3] for each in audit(database)] == ["refused", "refused", "done", "done"]


async def test_what_nothing_can_be_read_of_stays_and_is_not_counted(database: str) -> None:
    add_devices(database, "MH-1")
    take(database, [telemetry("MH-1", b"not json")])
    done = await bench(database).redrive(actor="wang", ids=(1,), mapping={"rename": {"a": "b"}})
    assert done["redriven"] == 0
    assert done["refused"][0]["why"]["zh"].startswith("报文不是合法的 JSON")
    assert states(database) == [(1, "open")]
    assert account(database, "redrive") == []


async def test_of_a_message_only_the_refused_record_is_taken_up(database: str) -> None:
    add_devices(database, "MH-1")
    records = b'[{"t":%d,"seq":1,"tilt":1},{"t":%d,"seq":2,"tilt":"2"}]' % (T, T + 1000)
    take(database, [telemetry("MH-1", records)])
    done = await bench(database).redrive(actor="wang", ids=(1,), mapping={"scale": {"tilt": 1}})
    assert (done["received"], done["stored"], done["duplicate"]) == (1, 1, 0)
    assert values_of(database, "seq, tilt") == [(1, 1.0), (2, 2.0)]


async def test_records_that_are_still_wrong_get_rows_of_their_own(database: str) -> None:
    add_devices(database, "MH-1")
    many = b'[{"seq":1,"tilt":1},{"seq":2,"tilt":"x"},{"seq":3,"tilt":3}]'
    take(database, [telemetry("MH-1", many)], max_records=2)
    assert codes(database) == {"too_many_records": 1}
    done = await bench(database).redrive(actor="wang", ids=(1,))
    assert (done["received"], done["stored"], done["quarantined"]) == (3, 2, 1)
    assert query(
        database,
        "SELECT quarantine_id, source, code, record_index, state FROM hub.quarantine ORDER BY 1",
    ) == [
        (1, "test", "too_many_records", None, "redriven"),
        (2, "redrive", "wrong_type", 1, "open"),
    ]
    ((_, received, stored, duplicate, quarantined),) = account(database, "redrive")
    assert received == stored + duplicate + quarantined == 3


async def test_a_record_without_a_time_keeps_the_time_of_its_first_receipt(database: str) -> None:
    take(database, [telemetry("MH-1", b'{"seq":1,"tilt":1}')])
    add_devices(database, "MH-1")
    await bench(database).redrive(actor="wang", ids=(1,))
    expected = int(Quality.BACKLOG | Quality.NO_DEVICE_TIME)
    assert values_of(database, "ts, quality") == [(NOON, expected)]


async def test_what_is_stored_already_is_a_duplicate(database: str) -> None:
    take(database, [cover("MH-1", 5)])
    add_devices(database, "MH-1")
    take(database, [cover("MH-1", 5)], after=1)
    done = await bench(database).redrive(actor="wang", ids=(1,))
    assert (done["stored"], done["duplicate"]) == (0, 1)
    assert account(database, "redrive") == [(NOON, 1, 0, 1, 0)]
    assert count(database, "reading_manhole_cover") == 1


async def test_events_and_states_are_taken_up_as_history_too(database: str) -> None:
    take(
        database,
        [
            ("hub/MH-1/event", b'{"t":%d,"seq":3,"e":"cover_open","on":true}' % T),
            ("hub/MH-1/state", b'{"t":%d,"online":true,"fw":"1.4"}' % T),
        ],
    )
    add_devices(database, "MH-1")
    take(database, [("hub/MH-1/state", b'{"t":%d,"online":false}' % (T + 1000))], after=2)
    done = await bench(database).redrive(actor="wang", ids=(1, 2))
    assert (done["stored"], done["duplicate"]) == (1, 1)  # the state was overtaken
    assert query(database, "SELECT name, quality FROM hub.device_event") == [
        ("cover_open", int(Quality.BACKLOG))
    ]
    assert query(database, "SELECT online FROM hub.device_state") == [(False,)]
    assert count(database, "finding") == 0


async def test_nobody_settles_a_message_twice(database: str) -> None:
    take(database, [cover("MH-1", 1)])
    add_devices(database, "MH-1")
    at = bench(database)
    await at.redrive(actor="wang", ids=(1,))
    again = await at.redrive(actor="li", ids=(1,))
    assert again["refused"][0]["why"]["en"] == "wang settled this message"
    gone = await at.discard(actor="li", ids=(1,), reason="nonsense")
    assert gone["discarded"] == 0
    assert account(database, "redrive") == [(NOON, 1, 1, 0, 0)]
    with pytest.raises(NotFoundError):
        await at.redrive(actor="li", ids=(77,))


async def test_the_same_bytes_that_come_after_a_re_drive_open_a_new_row(database: str) -> None:
    take(database, [cover("MH-1", 1)])
    add_devices(database, "MH-1")
    await bench(database).redrive(actor="wang", ids=(1,))
    query(database, "DELETE FROM hub.device RETURNING 1")
    take(database, [cover("MH-1", 1)], after=1)
    assert states(database) == [(1, "redriven"), (2, "open")]


async def test_a_refusal_by_the_database_names_the_record_and_stores_the_others(
    database: str,
) -> None:
    two = b'[{"t":%d,"seq":1,"tilt":1},{"t":%d,"seq":2,"tilt":2}]' % (T, T)
    take(database, [telemetry("MH-1", two)])
    add_devices(database, "MH-1")
    with psycopg.connect(database) as conn:
        conn.execute("ALTER TABLE hub.reading_manhole_cover ADD CHECK (seq <> 2)")
    done = await bench(database).redrive(actor="wang", ids=(1,))
    assert (done["received"], done["stored"], done["quarantined"]) == (2, 1, 1)
    assert codes(database)["store_rejected"] == 1


async def test_a_trial_shows_the_record_it_would_give_and_writes_nothing(database: str) -> None:
    add_devices(database, "MH-1")
    wrong = body(seq=4, angle=885, batt="x")
    take(database, [telemetry("MH-1", wrong)])
    at = bench(database)
    (refused,) = await at.attempt(1, mapping={"rename": {"angle": "tilt"}})
    assert (refused["code"], refused["problem"]["en"][-6:]) == ("wrong_type", "(batt)")
    mapping = {
        "rename": {"angle": "tilt", "batt": "note"},
        "scale": {"tilt": 0.1},
        "offset": {"tilt": -8},
    }
    (shown,) = await at.attempt(1, mapping=mapping)
    assert shown["table"] == "reading_manhole_cover"
    assert shown["device_id"] == "MH-1"
    assert shown["seq"] == 4
    assert shown["values"] == {"tilt": 80.5, "extra": {"note": "x"}}
    assert shown["quality"] == int(Quality.BACKLOG | Quality.UNKNOWN_KEY)
    assert count(database, "reading_manhole_cover") == 0
    assert states(database) == [(1, "open")]


async def test_a_comparison_marks_the_field_that_differs(database: str) -> None:
    add_devices(database, "MH-1")
    take(database, [telemetry("MH-1", body(seq=4, tilt="3", bat=3.6, temp=900))])
    found = await bench(database).compare(1)
    fields = {each["key"]: each for each in found["records"][0]["fields"]}
    assert found["kind"] == "manhole_cover"
    assert {key: each["mark"] for key, each in fields.items()} == {
        "t": "fine",
        "seq": "fine",
        "tilt": "refused",
        "bat": "warned",
        "temp": "warned",
    }
    assert "倾" in fields["tilt"]["wanted"]["zh"]
    assert fields["tilt"]["note"]["zh"].startswith("字段的类型不对")
    assert fields["bat"]["closest"] == "batt"
    assert fields["temp"]["note"]["en"].startswith("beyond its range")


async def test_a_payload_that_is_no_json_is_marked_where_reading_ended(database: str) -> None:
    add_devices(database, "MH-1")
    take(database, [telemetry("MH-1", b'{"t":1,"tilt":1,}')])
    found = await bench(database).compare(1)
    assert found["near"] == '{"t":1,"tilt":1,⟦}⟧'
    assert "JSON" in found["problem"]["en"]
    assert found["records"] == []


async def test_groups_tell_reason_maker_and_firmware(database: str) -> None:
    add_devices(database, "MH-1", "MH-2", "MH-3")
    take(
        database,
        [
            ("hub/MH-1/state", b'{"online":true,"fw":"2.1","model":"GX"}'),
            ("hub/MH-2/state", b'{"online":true,"fw":"2.1","model":"GX"}'),
            telemetry("MH-1", body(tilt="1")),
            telemetry("MH-1", body(tilt="1")),
            telemetry("MH-2", body(tilt="2")),
            telemetry("MH-3", b"?"),
            telemetry("XX-9", b"{}"),
        ],
    )
    found = await bench(database).groups()
    assert [
        (g["code"], g["prefix"], g["kind"], g["model"], g["firmware"], g["senders"], g["records"])
        for g in found
    ] == [
        ("wrong_type", "MH", "manhole_cover", "GX", "2.1", 2, 3),
        ("not_json", "MH", "manhole_cover", "", "", 1, 1),
        ("unknown_device", "XX", "", "", "", 1, 1),
    ]
    mended = await bench(database).redrive(
        actor="wang", firmware="2.1", mapping={"scale": {"tilt": 1}}
    )
    assert (mended["redriven"], mended["last"]) == (2, 2)


async def test_discarding_says_who_and_why(database: str) -> None:
    take(database, [telemetry("MH-1", b"?")])
    assert (await bench(database).discard(actor="wang", ids=(1,), reason="试验设备"))[
        "discarded"
    ] == 1
    assert query(database, "SELECT state, settled_by, settled_reason FROM hub.quarantine") == [
        ("discarded", "wang", "试验设备")
    ]
    assert audit(database) == [("wang", "discard", "1", "done")]


@pytest.mark.parametrize(
    "mapping",
    [[], {"rename": 3}, {"scale": {"tilt": "x"}}, {"renames": {}}, {"rename": {"a": 1}}],
)
async def test_a_mapping_that_cannot_be_is_refused_in_a_sentence(
    database: str, mapping: Any
) -> None:
    with pytest.raises(ConflictError, match="the mapping"):
        await bench(database).attempt(1, mapping=mapping)


async def test_choosing_nothing_settles_nothing(database: str) -> None:
    take(database, [telemetry("MH-1", b"?")])
    with pytest.raises(ConflictError, match="name the messages"):
        await bench(database).redrive(actor="wang")
    assert states(database) == [(1, "open")]


async def test_what_nobody_took_up_expires_and_its_bytes_go(database: str) -> None:
    add_devices(database, "MH-1")
    old = [telemetry("MH-1", b"old"), telemetry("MH-1", body(tilt="1")), telemetry("MH-1", b"")]
    take(database, old)
    await bench(database).redrive(actor="wang", ids=(2,), mapping={"scale": {"tilt": 1}})
    fresh = [telemetry("MH-1", b"fresh")]
    take(database, fresh, after=3, received_at=NOON_MICROS + 3600 * SECOND)
    assert await bench(database).expire(days=1.5) == 0
    assert await bench(database).expire(days=0.99) == 3
    assert query(
        database,
        "SELECT state, settled_by, settled_reason, payload, payload_length, payload_sha256 <> ''"
        " FROM hub.quarantine ORDER BY quarantine_id",
    ) == [
        ("discarded", "hub", "expired", b"", 3, True),
        ("redriven", "wang", None, b"", len(old[1][1]), True),
        ("discarded", "hub", "expired", b"", 0, True),
        ("open", None, None, b"fresh", 5, True),
    ]
    assert await bench(database).expire(days=0.99) == 0
    assert audit(database)[-1] == ("hub", "expire", "", "done")


def flood(database: str, messages: list[tuple[str, bytes]]) -> None:
    with open_pipeline(database) as pipeline:
        for start in range(0, len(messages), 70):
            pipeline.take(raw_batch(messages[start : start + 70], after=start))


async def test_a_row_that_only_counts_cannot_be_taken_up(database: str) -> None:
    add_devices(database, "MH-1")
    flood(database, [telemetry("MH-1", b"bad %d" % i) for i in range(150)])
    assert query(
        database,
        "SELECT counts_only, count(*), sum(repeat_count)::int FROM hub.quarantine"
        " GROUP BY 1 ORDER BY 1",
    ) == [(False, 100, 100), (True, 1, 50)]
    done = await bench(database).redrive(actor="wang", ids=(101,))
    assert "only a count" in done["refused"][0]["why"]["en"]


async def test_the_hourly_share_is_one_for_all_topics_and_reasons_of_a_device(
    database: str,
) -> None:
    add_devices(database, "MH-1")
    several = [
        (f"hub/MH-1/{channel}", payload % i)
        for i in range(100)
        for channel in ("telemetry", "event")
        for payload in (b"bad %d", b'{"t":"%d"}')
    ]
    flood(database, several)
    rows: Mapping[Any, Any] = dict(
        query(database, "SELECT counts_only, count(*) FROM hub.quarantine GROUP BY 1")
    )
    assert rows == {False: 100, True: 4}
    assert sum(codes(database).values()) == 400
    assert ledger(database) == (400, 0, 0, 400)


def test_strangers_cannot_fill_the_disk(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.quarantine._ROWS_OF_STRANGERS", 50)
    flood(database, [(f"hub/S-{i}/telemetry", b"?") for i in range(200)])
    assert count(database, "quarantine") == 51
    assert ledger(database) == (200, 0, 0, 200)
