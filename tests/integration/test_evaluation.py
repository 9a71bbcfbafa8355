"""The figures of evaluation are those a person works out, and those plain SQL gives."""

import csv
import io
import json
from datetime import date, timedelta
from typing import Any, Final

import psycopg
import pytest

from api.evaluation.bulletin import publish, read_bulletin, read_evaluation
from api.evaluation.facts import CaseFact
from api.evaluation.figures import Facts, Line, evaluate
from api.evaluation.flood import floods
from api.evaluation.period import Period, days, month
from api.store import look
from cityhub.cli import main as run
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConflictError
from tests.evaluating import AFTER, BY_HAND, CITY, SCORE, TWELVE, add_cases, at, by_chance
from tests.serving import raise_alarm, serving, settle

NOVEMBER: Final = date(2026, 11, 1)


def figures(line: Line) -> dict[str, tuple[int | None, int, float | None]]:
    return {f.code: (f.numerator, f.denominator, f.value) for f in line.figures}


def add_twelve(database: str) -> None:
    settle(database)
    add_cases(database, TWELVE)
    with psycopg.connect(database) as conn:  # what case 5 was before it came back
        conn.execute("UPDATE hub.work_order SET issued_at = %s WHERE case_no = 'C05'",
                     [at("11-06 10:00")])  # fmt: skip
    for number, (raised, wait, case) in enumerate(
        [("11-02 07:59", 60, "C01"), ("11-03 08:59", 120, None), ("11-08 12:30", None, "C07")], 1
    ):
        raised_at = at(raised)
        raise_alarm(
            database,
            f"MH-000{number}",
            raised_at=raised_at,
            notified_at=raised_at,
            ack_due_at=raised_at + timedelta(seconds=60),
            acked_at=raised_at + timedelta(seconds=wait) if wait else None,
            case_no=case,
            component_code="1411820102000001",
            condition_state="cleared",
            latched=False,
            fleeting=number == 1,
        )


async def test_twelve_cases_give_the_figures_worked_out_by_hand(pool: Pool, database: str) -> None:
    add_twelve(database)
    async with look(pool) as lent:
        found = await read_evaluation(lent, month(NOVEMBER, CITY), "city", now=AFTER, zone=CITY)
    (city,) = found.lines
    assert figures(city) == BY_HAND
    assert city.score == SCORE
    assert city.counts.model_dump() == {
        "reported": 10, "filed": 9, "handled": 6, "closed": 7, "alarms": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("by", "closed"),
    [
        ("dept", {"SZ": (5, 5), "LD": (2, 4)}),
        ("grid", {"14118200100101": (7, 9)}),
        ("class", {"0102": (7, 9)}),
        ("shift", {"day": (6, 8), "night": (1, 1)}),
        ("source", {"sensor": (6, 8), "hotline": (1, 1), "public": (0, 0)}),
    ],
)
async def test_cuts_share_the_cases_out(
    pool: Pool, database: str, by: Any, closed: dict[str, tuple[int, int]]
) -> None:
    add_twelve(database)
    async with look(pool) as lent:
        found = await read_evaluation(lent, month(NOVEMBER, CITY), by, now=AFTER, zone=CITY)
    assert {line.key: figures(line)["closed"][:2] for line in found.lines} == closed


def test_the_published_month_of_tianmen_is_reproduced() -> None:
    """Tianmen, December 2016: 996 filed, 972 due, 911 closed (93.72 %), 737 in time (75.82 %)."""
    period = month(date(2016, 12, 1), CITY)
    filed = period.start + timedelta(days=3)
    due = filed + timedelta(days=2)

    def case(number: int, *, handled_after: float | None, due_after: float = 0) -> CaseFact:
        handled = None if handled_after is None else due + timedelta(hours=handled_after)
        return CaseFact(
            case_no=str(number),
            source="inspector",
            state="dispatched" if handled is None else "closed",
            reported_at=filed,
            filed_at=filed,
            feedback_at=handled,
            closed_at=handled,
            handle_due_at=due + timedelta(days=due_after),
        )

    cases = [
        *(case(n, handled_after=-1) for n in range(737)),
        *(case(n, handled_after=1) for n in range(737, 911)),
        *(case(n, handled_after=None) for n in range(911, 972)),
        *(case(n, handled_after=None, due_after=40) for n in range(972, 996)),
    ]
    facts = Facts(cases, [], [], CITY)
    (line,) = evaluate(facts, period, "city", weights={}, names={})
    found = figures(line)
    assert line.counts.filed == 996
    assert found["closed"][:2] == (911, 972)
    assert found["closed_on_time"][:2] == (737, 972)
    assert f"{found['closed'][2]:.2%}" == "93.72%"
    assert f"{found['closed_on_time'][2]:.2%}" == "75.82%"


HANDLED: Final = (
    "CASE WHEN state IN ('feedback','verifying','closed','evaluated') THEN coalesce(feedback_at,"
    " CASE WHEN state IN ('closed','evaluated') THEN verified_at END) END"
)
DONE: Final = "CASE WHEN state IN ('closed','evaluated') THEN closed_at END"
SENT: Final = (
    "coalesce((SELECT min(issued_at) FROM hub.work_order w WHERE w.case_no = c.case_no),"
    " dispatched_at)"
)
IN: Final = "BETWEEN %(a)s AND %(b)s::timestamptz - interval '1 microsecond'"
DUE: Final = (
    "filed_at IS NOT NULL AND state NOT IN ('merged','rejected','void') AND"
    " (({0}) {1} OR handle_due_at {1} AND coalesce(({0}) >= %(a)s, true))"
)
MACHINE: Final = (
    "(source = 'sensor' OR EXISTS (SELECT 1 FROM hub.case t WHERE t.merged_into = c.case_no"
    " AND t.source = 'sensor')) AND NOT EXISTS (SELECT 1 FROM hub.case t WHERE"
    " (t.case_no = c.case_no OR t.merged_into = c.case_no) AND t.source IN ('hotline','public')"
    " AND t.reported_at <= (SELECT min(s.reported_at) FROM hub.case s WHERE"
    " (s.case_no = c.case_no OR s.merged_into = c.case_no) AND s.source = 'sensor'))"
)
ON_TIME: Final = f"({HANDLED}) <= coalesce(handle_due_at, 'infinity')"
PLAIN: Final = {
    "filing": (f"reported_at {IN}", "filed_at < %(b)s"),
    "handled": (DUE.format(HANDLED, IN), f"({HANDLED}) {IN}"),
    "handled_on_time": (DUE.format(HANDLED, IN), f"({HANDLED}) {IN} AND {ON_TIME}"),
    "overdue": (DUE.format(HANDLED, IN), f"NOT coalesce(({HANDLED}) {IN} AND {ON_TIME}, false)"),
    "closed": (DUE.format(DONE, IN), f"({DONE}) {IN}"),
    "closed_on_time": (DUE.format(DONE, IN), f"({DONE}) {IN} AND {ON_TIME}"),
    "closed_of_accepted": (f"reported_at {IN} AND filed_at IS NOT NULL", f"({DONE}) < %(b)s"),
    "rework": (f"verified_at {IN}", "rework_count > 0"),
    "returned": (f"{SENT} {IN}", "return_count > 0"),
    "extended": (f"{SENT} {IN}", "extension_count > 0"),
    "suspended": (f"{SENT} {IN}", "suspended"),
    "machine_first": (f"filed_at {IN} AND state <> 'merged'", MACHINE),
    "sensor_verified": (f"({DONE}) {IN}", "verify_method LIKE 'sensor%%'"),
    "recurred": (f"first_closed_at {IN}", "recurrence_count > 0"),
}
"""Of each share what is counted below, and what of it above the line."""
WALL: Final = f"({HANDLED}) - coalesce(dispatched_at, filed_at)"
LENGTHS: Final = {
    "handling_median": (0.5, f"({HANDLED}) {IN}", WALL),
    "handling_p90": (0.9, f"({HANDLED}) {IN}", WALL),
    "mttr": (0.5, f"({DONE}) {IN}", f"({DONE}) - filed_at"),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_figures_equal_plain_sql_over_cases_by_chance(
    pool: Pool, database: str, seed: int
) -> None:
    settle(database)
    add_cases(database, by_chance(seed, 400))
    period = month(NOVEMBER, CITY)
    async with look(pool) as lent:
        found = await read_evaluation(lent, period, "city", now=AFTER, zone=CITY)
    got = figures(found.lines[0])
    asked = {"a": period.start, "b": period.end}
    with psycopg.connect(database) as conn:
        for code, (below, above) in PLAIN.items():
            query = (
                f"SELECT count(*) FILTER (WHERE {above}), count(*) FROM hub.case c WHERE {below}"
            )
            assert got[code][:2] == conn.execute(query.encode(), asked).fetchone(), code
            assert got[code][1] > 5, code  # else the chances are bad
        for code, (share, where, length) in LENGTHS.items():
            query = (
                f"SELECT count(*), percentile_cont({share}) WITHIN GROUP (ORDER BY"
                f" extract(epoch FROM {length})) FROM hub.case c WHERE {where}"
            )
            row = conn.execute(query.encode(), asked).fetchone()
            assert row is not None
            assert got[code][1] == row[0], code
            assert got[code][2] == pytest.approx(float(row[1])), code


async def test_a_published_month_stays_and_later_changes_are_corrections(
    pool: Pool, database: str
) -> None:
    add_twelve(database)
    with pytest.raises(ConflictError, match="is not over"):
        await publish(pool, NOVEMBER, actor="王", now=at("11-30 23:59"), zone=CITY)
    first, added = await publish(pool, NOVEMBER, actor="王", now=AFTER, zone=CITY)
    assert added
    assert figures(first.city.lines[0]) == BY_HAND
    again, added = await publish(pool, NOVEMBER, actor="王", now=AFTER, zone=CITY)
    assert (again, added) == (first, False)

    with psycopg.connect(database) as conn:  # case 6 was handled in time after all
        conn.execute(
            "UPDATE hub.case SET state = 'feedback', feedback_at = handle_due_at"
            " WHERE case_no = 'C06'"
        )
    late = AFTER + timedelta(days=1)
    corrected, added = await publish(pool, NOVEMBER, actor="陈", now=late, zone=CITY)
    assert added
    assert figures(corrected.city.lines[0]) == BY_HAND
    (correction,) = corrected.corrections
    assert (correction.published_by, correction.edition) == ("陈", 2)
    moved = {c.code: (c.was_numerator, c.now_numerator) for c in correction.changes}
    assert moved["handled"] == (6, 7)
    assert moved["overdue"] == (3, 2)
    assert "closed" not in moved
    _, added = await publish(pool, NOVEMBER, actor="陈", now=late, zone=CITY)
    assert not added
    async with look(pool) as lent:
        assert await read_bulletin(lent, NOVEMBER, now=late, zone=CITY) == corrected
    with psycopg.connect(database) as conn, pytest.raises(psycopg.Error, match="append-only"):
        conn.execute("UPDATE hub.bulletin SET published_by = 'x'")


def test_days_and_months_are_the_citys() -> None:
    day = days(NOVEMBER, NOVEMBER, CITY)
    assert at("11-01 00:00") in day
    assert at("11-01 23:59") in day
    assert at("11-02 00:00") not in day
    assert month(date(2026, 12, 31), CITY).end == at("12-31 00:00") + timedelta(days=1)
    assert day.upto(at("11-01 12:00")) == Period(day.start, at("11-01 12:00"))


def test_a_flood_begins_at_ten_and_ends_below_five() -> None:
    found = floods({0: 9, 1: 10, 2: 5, 3: 4, 7: 25, 9: 12}, 10, 1)
    assert (found.count, found.slots, found.longest, found.peak) == (3, 4, 2, 25)
    assert floods({0: 19}, 10, 2).count == 0


async def test_alarm_health_is_measured_against_its_targets(pool: Pool, database: str) -> None:
    add_twelve(database)
    for minute in range(12):  # a flood of one device, already over
        raise_alarm(
            database,
            "MH-0004",
            raised_at=at("11-20 08:00") + timedelta(seconds=40 * minute),
            notified_at=at("11-20 08:00"),
            severity_peak=1,
            condition_state="cleared",
            latched=False,
            flapping=minute == 0,
        )
    raise_alarm(database, "MH-0005", raised_at=at("11-21 08:00"), suppression="suppressed",
                stale=True)  # fmt: skip
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO hub.shelf SELECT 1, device_no, 'cover_open', %s, 4, false, '施工', '王',"
            " %s FROM hub.device WHERE device_id = 'MH-0005'",
            [AFTER + timedelta(hours=1), AFTER - timedelta(hours=1)],
        )
    clock = ManualClock(AFTER)
    async with serving(pool, database, clock=clock) as client:
        answer = await client.get(
            "/api/v1/alarm-health", params={"from": "2026-11-01", "to": "2026-11-30"}
        )
        assert answer.status_code == 200, answer.text
        health = answer.json()
        halved = await client.get(
            "/api/v1/alarm-health",
            params={"from": "2026-11-01", "to": "2026-11-30", "seats": 2, "format": "csv"},
        )
    value = {m["code"]: (m["value"], m["ok"]) for m in health["measures"]}
    assert health["seats"] == 1
    assert value["rate_mean"] == (pytest.approx(15 / (30 * 144)), True)
    assert value["rate_peak"] == (12, None)
    assert value["per_day"] == (0.5, True)
    assert value["flood_count"] == (1, None)
    assert value["flood_share"] == (pytest.approx(1 / (30 * 144)), True)
    assert value["top_10"] == (1, False)
    assert value["stale"] == (1, False)
    assert value["chattering"] == (1, False)
    assert value["fleeting"] == (1, False)
    assert value["ack_median"] == (90, None)
    assert value["ack_p90"] == (114, None)
    assert value["red_late"] == (2, False)
    assert [p["alarms"] for p in health["priorities"]] == [12, 0, 3]
    assert health["bad_actors"][0] == {
        "device_id": "MH-0004", "device_name": "东大街4号井盖", "rule_id": "cover_open",
        "rule_label": health["rules"][0]["rule_label"], "alarms": 12, "share": 0.8,
    }  # fmt: skip
    (rule,) = health["rules"]
    assert (rule["alarms"], rule["cases"], rule["false_alarms"]) == (16, 2, 1)
    assert health["unused"] == []
    assert [(s["device_id"], s["age_s"], s["reason"]) for s in health["shelved"]] == [
        ("MH-0005", 3600, "施工")
    ]
    assert '每席每10分钟告警（峰值）,"Alarms a seat in 10 min, peak",6.0' in halved.text


async def test_sheets_open_in_a_spreadsheet(pool: Pool, database: str) -> None:
    add_twelve(database)
    clock = ManualClock(AFTER)
    async with serving(pool, database, clock=clock) as client:
        asked = {"from": "2026-11-01", "to": "2026-11-30", "by": "dept", "format": "csv"}
        answer = await client.get("/api/v1/evaluation", params=asked)
        bad = await client.get("/api/v1/evaluation", params={**asked, "to": "2026-10-01"})
        draft = await client.get("/api/v1/bulletins/2026-11")
        months = await client.get("/api/v1/bulletins")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert len({len(row) for row in rows}) == 1
    closed = {row[1]: row[7:9] for row in rows if row[4] == "closed"}
    assert closed == {"SZ": ["5", "5"], "LD": ["2", "4"]}
    assert bad.status_code == 422
    assert draft.json()["state"] == "draft"
    assert months.json() == []


async def test_the_bulletin_is_a_page_for_paper_in_both_languages(
    pool: Pool, database: str
) -> None:
    add_twelve(database)
    clock = ManualClock(AFTER)
    async with serving(pool, database, clock=clock) as client:
        zh = (await client.get("/lite/bulletin/2026-11", params={"lang": "zh"})).text
        style = (await client.get("/lite/style.css")).text
        await publish(pool, NOVEMBER, actor="<王>", now=AFTER, zone=CITY)
        with psycopg.connect(database) as conn:
            conn.execute("UPDATE hub.case SET rework_count = 1 WHERE case_no = 'C01'")
        await publish(pool, NOVEMBER, actor="陈", now=AFTER, zone=CITY)
        en = (await client.get("/lite/bulletin/2026-11", params={"lang": "en"})).text
        missing = await client.get("/lite/bulletin/2026-13")
    assert "2026年11月综合评价月报" in zh
    assert "未发布" in zh
    assert "结案数 ÷ 应结案数" in zh
    assert "77.78%" in zh
    assert "9 小时" in zh
    assert "November 2026" in en
    assert "closed ÷ due to be closed" in en
    assert "<bdi>&lt;王&gt;</bdi>" in en
    assert "Correction" in en
    assert "1 / 8" in en
    assert "2 / 8" in en
    assert "Public works" in en
    assert "size: A4" in style
    assert missing.status_code == 422


def test_the_command_prints_the_month_publishes_and_exports(
    database: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    add_twelve(database)
    with psycopg.connect(database) as conn:  # the command goes by the real clock
        conn.execute(
            "UPDATE hub.case SET (reported_at, filed_at, handle_due_at, feedback_at, closed_at) ="
            " (reported_at - interval '2 years', filed_at - interval '2 years', handle_due_at"
            " - interval '2 years', feedback_at - interval '2 years', closed_at - interval '2 y')"
        )
    monkeypatch.setenv("CITYHUB_DATABASE_URL", database)
    assert run(["bulletin", "2024-11"]) == 0
    shown = capfdbinary.readouterr().out.decode()
    assert "2024-11 draft" in shown
    assert "77.78%          7/9  Closing rate 结案率" in shown
    assert run(["bulletin", "2024-11", "--publish", "--as", "王", "--json"]) == 0
    published = json.loads(capfdbinary.readouterr().out)
    assert (published["state"], published["published_by"]) == ("published", "王")
    assert run(["bulletin", "2024-11", "--publish"]) == 0
    assert b"nothing has moved" in capfdbinary.readouterr().err
    assert run(["bulletin", "2024-11", "--csv"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"\xef\xbb\xbf")
    assert run(["bulletin", "2024-13"]) == 2
