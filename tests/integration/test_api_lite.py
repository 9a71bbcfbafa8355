"""The page without scripts: every state of it, hostile names, both languages, forms."""

import re
from datetime import timedelta

import psycopg
import pytest

from core.db import Pool
from tests.serving import (
    NOON,
    FakeActions,
    append_event,
    file_case,
    raise_alarm,
    serving,
    settle,
)
from tests.unit.test_api_lite import TURNING, Reader

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe",
    "' OR 1=1 --",
    "&amp;<b>",
]
PATHS = (
    "/lite",
    "/lite?state=all&audience=city&level=4",
    "/lite/alarms/1",
    "/lite/cases",
    "/lite/cases?state=all",
    "/lite/cases/FY-20261121-000001",
    "/lite/devices",
    "/lite/devices?find=MH&kind=manhole_cover",
    "/lite/devices/MH-0001",
)
KNOWN = {
    "html", "head", "meta", "title", "link", "body", "a", "header", "strong", "span", "nav", "div",
    "main", "h1", "h2", "p", "ul", "li", "ol", "svg", "rect", "path", "circle", "polyline", "b",
    "small", "form", "input", "button", "footer", "bdi", "time", "dl", "dt", "dd", "label",
    "select", "option", "textarea", "section", "table", "thead", "tbody", "tr", "th", "td",
    "figure", "figcaption",
}  # fmt: skip


def fill(database: str, name: str = "东大街1号井盖") -> None:
    settle(database)
    case_no = file_case(database, description_zh=name, description_en=name)
    number = raise_alarm(
        database, case_no=case_no, explain_zh=name, explain_en=name, unconfirmed=True
    )
    with psycopg.connect(database) as conn:
        conn.execute("UPDATE hub.device SET name = %s, gateway = %s", [name, name])
        conn.execute("UPDATE hub.grid_cell SET name = %s", [name])
        conn.execute("UPDATE hub.department SET name_zh = %s, name_en = %s", [name, name])
        append_event(conn, str(number), actor=name, reason=name, action="raised")
        append_event(conn, case_no, log="case", object="case", action="filed", to="filed")
        conn.execute(
            "INSERT INTO hub.work_order (order_no, case_no, dept_code, state, issued_at, feedback)"
            " VALUES ('W-1', %s, 'SZ', 'done', %s, %s)",
            [case_no, NOON, name],
        )
        conn.execute(
            "INSERT INTO hub.outbox (connector, case_no, seq, message_type, payload, state,"
            " created_at, due_at, last_error) VALUES"
            " ('webhook', %s, 1, 'work_order.issued', '{}', 'dead', %s, %s, %s)",
            [case_no, NOON, NOON, name],
        )
        conn.execute(
            "INSERT INTO hub.device_event (ts, device_no, name) VALUES (%s, 1, 'cover_open'),"
            " (%s, 1, %s)",
            [NOON, NOON, name],
        )


@pytest.mark.parametrize("name", ["长" * 64, " ".join(HOSTILE)])
async def test_no_name_anywhere_becomes_markup(pool: Pool, database: str, name: str) -> None:
    fill(database, name)
    async with serving(pool, database) as client:
        for path in PATHS:
            answer = await client.get(path)
            assert answer.status_code == 200, path
            page = Reader(answer.text)
            assert {element for element, _ in page.elements} <= KNOWN, path
            for element, attributes in page.elements:
                assert not [key for key, _ in attributes if key.startswith("on")], path
                assert "style" not in dict(attributes), path
                if element == "a":
                    assert (dict(attributes)["href"] or "").startswith(("/lite", "#")), path
            assert not TURNING.search(page.text), path


@pytest.mark.parametrize(("lang", "word"), [("zh", "告警"), ("en", "Alarms")])
async def test_each_page_speaks_both_languages_and_loads_nothing_foreign(
    pool: Pool, database: str, lang: str, word: str
) -> None:
    fill(database)
    async with serving(pool, database) as client:
        for path in PATHS:
            answer = await client.get(path, params={"lang": lang})
            assert word in answer.text, path
            assert "://" not in answer.text, path
            assert "<script" not in answer.text, path
        style = await client.get("/lite/style.css")
        assert style.headers["content-type"].startswith("text/css")
        assert "url(" not in style.text
        assert "@import" not in style.text


async def test_the_language_follows_the_choice_then_the_browser(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        assert 'lang="zh-CN"' in (await client.get("/lite")).text
        english = {"Accept-Language": "en-GB,zh;q=0.3"}
        assert '<html lang="en"' in (await client.get("/lite", headers=english)).text
        await client.get("/lite?lang=zh")
        assert '<html lang="zh-CN"' in (await client.get("/lite", headers=english)).text


async def test_an_alarm_shows_level_as_colour_shape_and_word_with_city_time(
    pool: Pool, database: str
) -> None:
    fill(database)
    async with serving(pool, database) as client:
        page = (await client.get("/lite")).text
    row = page[page.index('<ul class="rows">') :]
    assert 'class="mark red"' in row
    assert "<rect" in row
    assert "红色预警" in row
    assert "11-21 11:58:32" in row  # 03:58:32 UTC
    assert "1 分钟前" in row
    assert "未确认 · 未证实" in row
    assert 'http-equiv="refresh" content="10; url=/lite"' in page


async def test_an_acknowledged_alarm_is_hollow_and_last(pool: Pool, database: str) -> None:
    settle(database)
    raise_alarm(database, "MH-0001", ack_state="acked", severity=4)
    raise_alarm(database, "MH-0002", severity=1, rule_id="battery_low")
    async with serving(pool, database) as client:
        page = (await client.get("/lite")).text
    row = page[page.index('<ul class="rows">') :]
    assert row.index("mark blue") < row.index("mark red hollow")


async def test_empty_lists_say_so_and_what_to_do(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        assert "没有符合条件的告警。" in (await client.get("/lite")).text
        assert "红色告警自动立案" in (await client.get("/lite/cases")).text
        assert "cityhub import devices" in (await client.get("/lite/devices")).text
        settle(database)
        assert "尚无读数。" in (await client.get("/lite/devices/MH-0001")).text


async def test_what_is_not_there_gets_a_page_not_a_document(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        for path, status in (
            ("/lite/alarms/99", 404),
            ("/lite/cases/FY-9", 404),
            ("/lite/devices/NO-1", 404),
            ("/lite/nothing", 404),
            ("/lite?level=9", 422),
        ):
            answer = await client.get(path)
            assert answer.status_code == status
            assert answer.headers["content-type"].startswith("text/html")
            assert 'role="alert"' in answer.text


async def test_refreshing_can_be_paused_and_pages_with_forms_never_refresh(
    pool: Pool, database: str
) -> None:
    fill(database)
    async with serving(pool, database) as client:
        assert 'http-equiv="refresh"' not in (await client.get("/lite?refresh=off")).text
        for path in ("/lite/alarms/1", "/lite/cases/FY-20261121-000001"):
            assert 'http-equiv="refresh"' not in (await client.get(path)).text


def form_of(page: str, action: str) -> dict[str, str]:
    """Return the hidden fields of the form that posts to an address."""
    form = page[page.index(f'action="{action}"') :]
    form = form[: form.index("</form>")]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))


async def test_the_button_of_the_list_acknowledges_what_was_seen(pool: Pool, database: str) -> None:
    fill(database)
    actions = FakeActions()
    with psycopg.connect(database) as conn:
        conn.execute("UPDATE hub.alarm SET version = 3")
    async with serving(pool, database, actions=actions) as client:
        action = "/lite/alarms/1/acknowledge"
        fields = form_of((await client.get("/lite")).text, action)
        answer = await client.post(action, data=fields)
        after = await client.get(answer.headers["location"])
    assert (answer.status_code, answer.headers["location"]) == (303, "/lite?said=acknowledge")
    assert actions.calls == [("acknowledge", 1, {"actor": "local", "version": 3})]
    assert 'role="status">已确认。' in after.text


STAGES: list[tuple[str, str, dict[str, str], dict[str, object]]] = [
    ("filed", "dispatch", {"dept": "SZ"}, {"dept": "SZ"}),
    ("dispatched", "sign", {}, {}),
    ("dispatched", "return", {"reason": "不属本单位"}, {"reason": "不属本单位"}),
    ("in_progress", "feedback", {"note": "已修复"}, {"note": "已修复"}),
    ("verifying", "verify", {"note": "合格", "passed": "yes"}, {"note": "合格", "passed": True}),
    ("verifying", "verify", {"note": "未好", "passed": "no"}, {"note": "未好", "passed": False}),
]


async def test_each_stage_of_a_case_has_its_form(pool: Pool, database: str) -> None:
    settle(database)
    actions = FakeActions()
    async with serving(pool, database, actions=actions) as client:
        for number, (state, action, fields, call) in enumerate(STAGES):
            case_no = file_case(database, f"FY-{number}", state=state, version=4)
            address = f"/lite/cases/{case_no}/{action}"
            hidden = form_of((await client.get(f"/lite/cases/{case_no}")).text, address)
            answer = await client.post(address, data={**hidden, **fields, "actor": "李四"})
            assert answer.status_code == 303, answer.text
            assert actions.calls[-1] == (action, case_no, {"actor": "李四", "version": 4, **call})
        closed = (await client.get(f"/lite/cases/{file_case(database, state='void')}")).text
    assert "当前环节没有可做的操作。" in closed


async def test_who_was_first_is_said_on_the_page(pool: Pool, database: str) -> None:
    fill(database)
    async with serving(pool, database) as client:
        action = "/lite/alarms/1/acknowledge"
        fields = form_of((await client.get("/lite")).text, action)
        answer = await client.post(action, data={**fields, "version": "1"})
    assert answer.status_code == 409
    assert "席位2已先行确认" in answer.text


async def test_a_form_that_is_not_ours_does_nothing(pool: Pool, database: str) -> None:
    fill(database)
    actions = FakeActions()
    action = "/lite/alarms/1/acknowledge"
    async with serving(pool, database, actions=actions) as client:
        fields = form_of((await client.get("/lite")).text, action)
        stripped = {key: value for key, value in fields.items() if key != "form"}
        for headers, sent in (
            ({}, stripped),
            ({}, fields | {"form": "0" * 32}),
            ({}, fields | {"form": ""}),
            ({"Origin": "http://evil.example"}, fields),
            ({"Origin": "null"}, fields),
            ({"Sec-Fetch-Site": "cross-site"}, fields),
            ({"Sec-Fetch-Site": "same-site"}, fields),
        ):
            answer = await client.post(action, data=sent, headers=headers)
            assert answer.status_code == 403, (headers, sent)
        client.cookies.clear()
        assert (await client.post(action, data=fields)).status_code == 403
    assert actions.calls == []


async def test_the_cookie_of_forms_is_hidden_from_other_sites(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        answer = await client.get("/lite")
        again = await client.get("/lite")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "set-cookie" not in again.headers


async def test_a_device_shows_its_last_values_and_a_line_for_each_metric(
    pool: Pool, database: str
) -> None:
    from tests.integration.test_api_reads import history, store

    settle(database)
    store(database, history(40, timedelta(minutes=7)))
    async with serving(pool, database) as client:
        page = (await client.get("/lite/devices/MH-0001?lang=en")).text
    assert "Tilt" in page
    assert page.count('class="spark"') == 2  # tilt and temp; the others were never measured
    assert "°C" in page
    assert "NaN" not in page
    assert "nan" not in re.sub("<[^>]*>", "", page)
