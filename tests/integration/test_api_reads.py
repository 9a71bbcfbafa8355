"""What the API shows is what the tables hold."""

import math
import random
from datetime import UTC, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest
from psycopg import sql

from analytics.rollup import roll_up
from core.clock import ManualClock
from core.db import Pool
from core.model import to_micros
from core.tables import days_of, make_days, read_edition
from devices import KINDS
from tests.serving import NOON, append_event, file_case, raise_alarm, serving, settle

COVER = KINDS["manhole_cover"]
TABLE = COVER.table.identifier


def store(database: str, rows: list[dict[str, Any]], device_id: str = "MH-0001") -> None:
    """Insert readings of one device."""
    with psycopg.connect(database) as conn:
        if not read_edition(conn).hypertables:
            make_days(conn, COVER.table, days_of(to_micros(row["ts"]) for row in rows))
        for row in rows:
            insert = sql.SQL(
                "INSERT INTO {} ({}, device_no) SELECT {}, device_no FROM hub.device"
                " WHERE device_id = %(device_id)s"
            ).format(
                TABLE,
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join(map(sql.Placeholder, row)),
            )
            conn.execute(insert, {**row, "device_id": device_id})
        times = [row["ts"] for row in rows]
        conn.execute(
            "INSERT INTO hub.rollup_dirty (level, kind, first, last) VALUES (0, %s,"
            " date_trunc('minute', %s::timestamptz), date_trunc('minute', %s::timestamptz))",
            [COVER.name, min(times), max(times)],
        )


def history(count: int, step: timedelta, seed: int = 5) -> list[dict[str, Any]]:
    """Readings with gaps, NaN, twins at one time and rows without a counter."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        ts = NOON - step * number
        tilt = chance.choice([None, math.nan, chance.gauss(1, 0.4)])
        rows.append({"ts": ts, "seq": number, "tilt": tilt, "temp": chance.gauss(16, 1)})
        if number % 7 == 0:
            rows.append({"ts": ts, "seq": None, "tilt": chance.gauss(1, 0.4), "temp": None})
    return rows


async def pages(client: httpx.AsyncClient, path: str, **params: Any) -> list[list[dict[str, Any]]]:
    """Take all pages of a list."""
    found = []
    after: str | None = None
    while True:
        given = params if after is None else {**params, "after": after}
        answer = await client.get(path, params=given)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["items"])
        after = answer.json()["next"]
        if after is None:
            return found


async def test_devices_are_listed_by_page_filter_and_name(pool: Pool, database: str) -> None:
    settle(database)
    async with serving(pool, database) as client:
        cut = await pages(client, "/api/v1/devices", limit=2)
        assert [[d["device_id"] for d in page] for page in cut] == [
            ["MH-0001", "MH-0002"],
            ["MH-0003", "MH-0004"],
            ["MH-0005"],
        ]
        found = (await client.get("/api/v1/devices", params={"find": "东大街3"})).json()["items"]
        assert [device["device_id"] for device in found] == ["MH-0003"]
        assert found[0]["kind_label"] == {"zh": "智能井盖", "en": "Manhole cover"}
        assert found[0]["grid_name"] == "东大街与府学街口"
        none = await client.get("/api/v1/devices", params={"kind": "street_lamp"})
        assert none.json() == {"items": [], "next": None}


async def test_one_device_brings_its_thing_model(pool: Pool, database: str) -> None:
    settle(database)
    async with serving(pool, database) as client:
        device = (await client.get("/api/v1/devices/MH-0001")).json()
        kinds = (await client.get("/api/v1/kinds")).json()["items"]
        kind = (await client.get("/api/v1/kinds/manhole_cover")).json()
    assert device["kind_schema"] == kind
    assert [m["name"] for m in kind["metrics"]] == [m.name for m in COVER.metrics]
    assert kind["metrics"][0]["label"] == {"zh": "倾角", "en": "Tilt"}
    assert {kind["name"] for kind in kinds} == set(KINDS)
    assert device["interval_s"] == COVER.interval_s


async def test_raw_readings_come_by_page_without_gap_or_repeat_both_ways(
    pool: Pool, database: str
) -> None:
    settle(database)
    rows = history(60, timedelta(minutes=7))
    store(database, rows)
    path = "/api/v1/devices/MH-0001/readings"
    async with serving(pool, database) as client:
        newest = [r for page in await pages(client, path, limit=7) for r in page]
        oldest = [r for page in await pages(client, path, limit=7, order="asc") for r in page]
        first = (await client.get(path, params={"limit": 30})).json()
        store(database, [{"ts": NOON + timedelta(hours=1), "seq": 999, "tilt": 1.0}])
        second = await client.get(path, params={"limit": 30, "after": first["next"]})
    assert len(newest) == len(rows)
    assert newest == oldest[::-1]
    keys = [(r["ts"], -1 if r["seq"] is None else r["seq"]) for r in newest]
    assert keys == sorted(set(keys), reverse=True)
    # A row that came meanwhile shifts no page that is read by key.
    assert first["items"] + second.json()["items"] == newest[:60]


async def test_a_reading_shows_only_numbers_that_json_knows(pool: Pool, database: str) -> None:
    settle(database)
    row = {"ts": NOON, "seq": 1, "tilt": math.nan, "gap": math.inf, "temp": 0.1, "batt": None}
    store(database, [row])
    async with serving(pool, database) as client:
        answer = await client.get("/api/v1/devices/MH-0001/readings?metric=tilt&metric=temp")
        whole = await client.get("/api/v1/devices/MH-0001/latest")
    assert answer.json()["items"] == [
        {"ts": "2026-11-21T04:00:00Z", "seq": 1, "quality": 0, "extra": None,
         "values": {"tilt": None, "temp": 0.1}}
    ]  # fmt: skip
    assert whole.json()["values"]["gap"] is None
    assert "NaN" not in whole.text
    assert "Infinity" not in whole.text


@pytest.mark.parametrize("job", [False, True], ids=["before the job", "after the job"])
@pytest.mark.parametrize(
    ("bucket", "step"),
    [("1m", timedelta(seconds=13)), ("1h", timedelta(minutes=11)), ("1d", timedelta(hours=5))],
)
async def test_rolled_up_readings_equal_a_recomputation(
    pool: Pool, database: str, bucket: str, step: timedelta, job: bool
) -> None:
    """Recomputed here from the raw rows; a day begins at midnight in the city."""
    settle(database)
    store(database, history(120, step))
    if job:
        assert await roll_up(pool, ManualClock(NOON + timedelta(days=2)))
    zone = ZoneInfo("Asia/Shanghai")
    zeros: dict[str, Any] = {"1m": {}, "1h": {"minute": 0}, "1d": {"minute": 0, "hour": 0}}
    start, end = NOON - step * 110, NOON - step * 3
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            "SELECT ts, seq, tilt, temp FROM hub.reading_manhole_cover WHERE ts >= %s AND ts < %s"
            " ORDER BY ts, seq NULLS FIRST",
            [start, end],
        ).fetchall()
    wanted: dict[str, dict[str, list[float]]] = {}
    for ts, _, tilt, temp in rows:
        begin = ts.astimezone(zone).replace(second=0, microsecond=0, **zeros[bucket])
        at = begin.astimezone(UTC).isoformat().replace("+00:00", "Z")
        held = wanted.setdefault(at, {"tilt": [], "temp": []})
        for name, value in (("tilt", tilt), ("temp", temp)):
            if value is not None and not math.isnan(value):
                held[name].append(value)
    params = {"bucket": bucket, "from": start.isoformat(), "to": end.isoformat(), "order": "asc"}
    async with serving(pool, database) as client:
        answer = await client.get(
            "/api/v1/devices/MH-0001/readings", params={**params, "metric": ["tilt", "temp"]}
        )
    body = answer.json()
    assert (body["bucket"], body["time_zone"]) == (bucket, "Asia/Shanghai")
    assert [item["at"] for item in body["items"]] == list(wanted)
    assert len(wanted) > 5
    for item in body["items"]:
        for name, figures in item["metrics"].items():
            values = wanted[item["at"]][name]
            assert figures["count"] == len(values)
            if values:
                assert figures["avg"] == pytest.approx(sum(values) / len(values), rel=1e-6)
                assert (figures["min"], figures["max"]) == (min(values), max(values))
                assert figures["last"] == values[-1]
            else:
                assert figures["avg"] is figures["last"] is None


async def test_what_cannot_be_answered_is_refused_with_a_sentence(
    pool: Pool, database: str
) -> None:
    settle(database)
    base = "/api/v1/devices/MH-0001/readings"
    async with serving(pool, database) as client:
        for path, status in (
            ("/api/v1/devices/NO-1", 404),
            ("/api/v1/devices/NO-1/readings", 404),
            ("/api/v1/devices/a%20b", 422),
            (f"{base}?metric=nothing", 404),
            (f"{base}?metric=tilt;DROP%20TABLE%20hub.device", 404),
            (f"{base}?from=2026-11-21T04:00:00", 422),  # no zone
            (f"{base}?from=yesterday", 422),
            (f"{base}?bucket=1s", 422),
            (f"{base}?bucket=1m&from=2020-01-01T00:00:00Z", 422),
            (f"{base}?limit=0", 422),
            (f"{base}?limit=5001", 422),
            (f"{base}?after=rubbish", 422),
            ("/api/v1/alarms?severity=5", 422),
            ("/api/v1/alarms/0", 422),
            ("/api/v1/alarms/1", 404),
            ("/api/v1/alarms/99999999999999999999", 422),
            ("/api/v1/cases/FY-1", 404),
            ("/api/v1/incidents/1", 404),
            ("/api/v1/quarantine/1", 404),
            ("/api/v1/components/1", 422),
            ("/api/v1/kinds/toaster", 404),
            ("/api/v1/nothing", 404),
            ("/api/v1/stream?cursor=-1", 422),
        ):
            answer = await client.get(path)
            assert answer.status_code == status, (path, answer.text)
            problem = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert problem["status"] == status
            assert problem["detail"]
            assert problem["detail_zh"]
        assert (await client.delete("/api/v1/alarms")).status_code == 405
        broken = await client.post(
            "/api/v1/alarms/1/reset",
            content=b'{"reason":',
            headers={"Content-Type": "application/json"},
        )
    assert (broken.status_code, broken.json()["type"]) == (400, "urn:cityhub:problem:not_json")


async def test_alarms_are_listed_by_state_level_audience_device_and_page(
    pool: Pool, database: str
) -> None:
    settle(database)
    red = raise_alarm(database)
    acked = raise_alarm(database, "MH-0002", severity=3, ack_state="acked", acked_by="席位1")
    care = raise_alarm(database, "MH-0003", rule_id="battery_low", audience="maintenance",
                       severity=1, latched=False)  # fmt: skip
    over = raise_alarm(database, "MH-0004", condition_state="cleared", latched=False)
    latched = raise_alarm(database, "MH-0005", condition_state="cleared")

    async def ids(client: httpx.AsyncClient, **params: Any) -> set[int]:
        found = await pages(client, "/api/v1/alarms", limit=2, **params)
        return {alarm["alarm_id"] for page in found for alarm in page}

    async with serving(pool, database) as client:
        assert await ids(client) == {red, acked, care, latched}
        assert await ids(client, state="all") == {red, acked, care, over, latched}
        assert await ids(client, state="unacked") == {red, care, over, latched}
        assert await ids(client, state="cleared") == {over, latched}
        assert await ids(client, severity=[3, 1]) == {acked, care}
        assert await ids(client, audience="maintenance") == {care}
        assert await ids(client, device="MH-0002") == {acked}
        assert await ids(client, grid="14118200100102") == set()
        assert await ids(client, rule="battery_low") == {care}
        shown = {
            alarm["alarm_id"]: alarm["state"]
            for alarm in (await client.get("/api/v1/alarms?state=all")).json()["items"]
        }
    assert shown == {
        red: "UNACK", acked: "ACKED", care: "UNACK", over: "RTNUN", latched: "RTNUN"
    }  # fmt: skip


async def test_one_alarm_brings_words_and_history(pool: Pool, database: str) -> None:
    settle(database)
    number = raise_alarm(database)
    with psycopg.connect(database) as conn:
        first = append_event(conn, str(number))
        append_event(conn, "999")
        second = append_event(conn, str(number), action="acknowledged", actor="席位1")
    async with serving(pool, database) as client:
        alarm = (await client.get(f"/api/v1/alarms/{number}")).json()
    assert alarm["rule_label"] == {"zh": "井盖开启/缺失", "en": "Cover open or gone"}
    assert alarm["severity_label"] == {"zh": "红色预警", "en": "red"}
    assert alarm["explain"]["zh"].startswith("倾角 95°")
    assert alarm["raised_at"] == "2026-11-21T03:58:32Z"
    assert [event["event_id"] for event in alarm["events"]] == [first, second]


async def test_one_case_brings_orders_deliveries_alarms_and_history(
    pool: Pool, database: str
) -> None:
    settle(database)
    case_no = file_case(database)
    alarm = raise_alarm(database, case_no=case_no)
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO hub.work_order (order_no, case_no, dept_code, state, issued_at)"
            " VALUES ('W-1', %s, 'SZ', 'issued', %s)",
            [case_no, NOON],
        )
        conn.execute(
            "INSERT INTO hub.outbox (connector, case_no, seq, message_type, payload, state,"
            " created_at, due_at) VALUES ('webhook', %s, 1, 'work_order.issued', '{}', 'dead',"
            " %s, %s)",
            [case_no, NOON, NOON],
        )
        append_event(conn, case_no, log="case", object="case", action="filed")
        append_event(conn, "W-1", log="case", object="work_order", action="issued")
    async with serving(pool, database) as client:
        case = (await client.get(f"/api/v1/cases/{case_no}")).json()
        dead = (await client.get("/api/v1/outbox?state=dead")).json()["items"]
    assert case["state_label"] == {"zh": "已立案", "en": "filed"}
    assert case["dept_label"] == {"zh": "市政所", "en": "Public works"}
    assert case["alarm_ids"] == [alarm]
    assert [found["alarm_id"] for found in case["alarms"]] == [alarm]
    assert [order["order_no"] for order in case["work_orders"]] == ["W-1"]
    assert [delivery["key"] for delivery in case["deliveries"]] == [f"{case_no}-1"]
    assert [event["action"] for event in case["events"]] == ["filed", "issued"]
    assert [delivery["case_no"] for delivery in dead] == [case_no]


async def test_cases_of_one_moment_are_paged_without_gap_or_repeat(
    pool: Pool, database: str
) -> None:
    settle(database)
    numbers = [
        file_case(database, f"FY-20261121-{number:06}", severity=2 + number % 3)
        for number in range(1, 8)
    ]
    file_case(database, "FY-20261121-000099", state="void")
    async with serving(pool, database) as client:
        cut = await pages(client, "/api/v1/cases", limit=3)
        voided = (await client.get("/api/v1/cases?state=void")).json()["items"]
        red = (await client.get("/api/v1/cases?severity=4")).json()["items"]
    assert [case["case_no"] for page in cut for case in page] == numbers[::-1]
    assert [case["case_no"] for case in voided] == ["FY-20261121-000099"]
    assert len(red) == 2  # the void one is red too, and not open


async def test_the_citys_own_data_are_shown(pool: Pool, database: str) -> None:
    settle(database)
    async with serving(pool, database) as client:
        departments = (await client.get("/api/v1/departments")).json()["items"]
        answer = await client.get("/api/v1/grid-cells")
        parts = await pages(client, "/api/v1/components", limit=1, class_code="0102")
        one = (await client.get("/api/v1/components/1411820102000001")).json()
    assert [department["dept_code"] for department in departments] == ["JD", "LD", "SZ"]
    assert answer.headers["content-type"] == "application/geo+json"
    cells = answer.json()
    assert cells["type"] == "FeatureCollection"
    assert [cell["geometry"]["type"] for cell in cells["features"]] == ["Polygon", "Point"]
    assert [part["component_code"] for page in parts for part in page] == [
        "1411820102000001",
        "1411820102000002",
    ]
    assert one["class_code"] == "0102"


async def test_ledger_and_quarantine_are_shown(pool: Pool, database: str) -> None:
    with psycopg.connect(database) as conn:
        for minute in range(5):
            conn.execute(
                "INSERT INTO hub.ledger VALUES ('main', %s, 10, 7, 2, 1),"
                " ('second', %s, 1, 1, 0, 0)",
                [NOON - timedelta(minutes=minute)] * 2,
            )
        conn.execute(
            "INSERT INTO hub.quarantine (received_at, last_at, source, topic, stage, code,"
            " detail_zh, detail_en, payload, payload_length, payload_sha256, digest) VALUES"
            " (%s, %s, 'main', 'hub/X/telemetry', 'codec', 'not_json', '不是 JSON', 'not JSON',"
            " %s, 3, %s, %s)",
            [NOON, NOON, b"\x00\xff{", b"\x01" * 32, b"\x02" * 32],
        )
    async with serving(pool, database) as client:
        minutes = await pages(client, "/api/v1/ledger", limit=3)
        held = (await client.get("/api/v1/quarantine")).json()["items"]
        one = (await client.get(f"/api/v1/quarantine/{held[0]['quarantine_id']}")).json()
        stats = (await client.get("/api/v1/stats")).json()
    keys = [(row["minute"], row["source"]) for page in minutes for row in page]
    assert keys == sorted(set(keys), reverse=True)
    assert len(keys) == 10
    assert "payload_base64" not in held[0]
    assert (one["code"], one["payload_base64"], one["detail"]["zh"]) == (
        "not_json", "AP97", "不是 JSON"
    )  # fmt: skip
    assert stats["ledger"] == {
        "received": 55, "stored": 40, "duplicate": 10, "quarantined": 5, "difference": 0
    }  # fmt: skip
    assert stats["quarantine_open"] == 1


async def test_a_snapshot_is_true_at_its_cursor(pool: Pool, database: str) -> None:
    settle(database)
    number = raise_alarm(database)
    file_case(database)
    with psycopg.connect(database) as conn:
        last = append_event(conn, str(number))
    async with serving(pool, database) as client:
        snapshot = (await client.get("/api/v1/snapshot")).json()
    assert snapshot["cursor"] == last
    assert [alarm["alarm_id"] for alarm in snapshot["alarms"]] == [number]
    assert len(snapshot["devices"]) == 5
    assert [level["severity"] for level in snapshot["meta"]["levels"]] == [4, 3, 2, 1]
    assert snapshot["meta"]["time_zone"] == "Asia/Shanghai"
    assert snapshot["counters"]["cases"] == {"filed": 1}


async def test_health_names_what_is_wrong(pool: Pool, database: str) -> None:
    settle(database)
    async with serving(pool, database) as client:
        fresh = await client.get("/healthz")
        file_case(database)
        with psycopg.connect(database) as conn:
            conn.execute(
                "INSERT INTO hub.outbox (connector, case_no, seq, message_type, payload, state,"
                " created_at, due_at) VALUES ('webhook', 'FY-20261121-000001', 1, 'x', '{}',"
                " 'dead', %s, %s)",
                [NOON, NOON],
            )
            conn.execute("INSERT INTO hub.device_seen SELECT device_no, %s FROM hub.device", [NOON])
            conn.execute(
                "INSERT INTO hub.ledger VALUES ('main', %s, 1, 1, 0, 0)",
                [NOON - timedelta(hours=5)],
            )
        sick = await client.get("/healthz")
        figures = (await client.get("/metrics")).text
    assert fresh.status_code == 200
    assert sick.status_code == 503
    wrong = {check["name"] for check in sick.json()["checks"] if not check["ok"]}
    assert wrong == {"ingest", "source", "outbox"}
    assert "cityhub_outbox_dead 1.0" in figures
    assert "cityhub_ledger_difference 0.0" in figures
    assert 'cityhub_devices_known{kind="manhole_cover"} 5.0' in figures
    assert "process_resident_memory_bytes" in figures


async def test_without_a_database_health_says_so_and_the_rest_asks_to_come_again(
    pool: Pool, database: str
) -> None:
    async with serving(pool, database) as client:
        await pool.close()
        health = await client.get("/healthz")
        alarms = await client.get("/api/v1/alarms")
        page = await client.get("/lite")
        figures = await client.get("/metrics")
    assert (health.status_code, health.json()["ok"]) == (503, False)
    assert (alarms.status_code, alarms.headers["retry-after"]) == (503, "2")
    assert page.status_code == 503
    assert "数据库暂时不可用" in page.text
    assert "cityhub_database_up 0.0" in figures.text


async def test_a_question_that_takes_too_long_is_stopped(
    pool: Pool, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api import store

    monkeypatch.setattr(store, "_LOOK", store._LOOK.replace("'5s'", "'50ms'"))
    settle(database)
    raise_alarm(database)
    async with serving(pool, database) as client:
        with psycopg.connect(database) as conn:
            conn.execute("LOCK TABLE hub.alarm IN ACCESS EXCLUSIVE MODE")
            answer = await client.get("/api/v1/alarms")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:cityhub:problem:too_slow")
