"""The watch page: what a shift does all day, and what must not happen to it."""

import os
import re
import signal
import time

import httpx
import psycopg
import pytest
from playwright.sync_api import Page, Route, ViewportSize, expect

from tests.e2e.hub import Up
from tests.page.seat import Seat, covers, name_of, tilt

NARROW: ViewportSize = {"width": 390, "height": 844}


def test_a_stolen_cover_comes_to_the_feed_and_says_why(seat: Seat, up: Up) -> None:
    (cover,) = covers(up, 1)
    page = seat.open()
    tilt(up, cover)
    row = seat.row(cover)
    expect(row).to_be_visible()
    row.click()
    detail = page.get_by_role("article")
    expect(detail).to_contain_text("95")
    expect(detail).to_contain_text("为何告警")
    expect(detail.locator("canvas")).to_be_visible()
    expect(detail.locator("ol").last).to_contain_text("立案")
    assert f"sel={_selected(page)}" in page.url


def test_one_key_acknowledges_and_another_takes_it_back(seat: Seat, up: Up) -> None:
    (cover,) = covers(up, 1)
    page = seat.open()
    tilt(up, cover)
    expect(seat.row(cover)).to_be_visible()
    seat.row(cover).click()
    page.keyboard.press("a")
    expect(page.locator(".toasts")).to_contain_text("已确认")
    expect(seat.row(cover)).not_to_have_class(re.compile("fresh"))
    page.keyboard.press("z")
    expect(page.locator(".toasts")).to_contain_text("已撤销")
    expect(seat.row(cover)).to_have_class(re.compile("fresh"))


def test_a_case_is_returned_and_dispatched_by_keyboard_alone(seat: Seat, up: Up) -> None:
    (cover,) = covers(up, 1)
    page = seat.open()
    tilt(up, cover)
    expect(seat.row(cover)).to_be_visible()
    seat.row(cover).click()
    expect(page.get_by_role("button", name="退办 R")).to_be_visible()  # a red one sent itself
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("非本单位职责")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="派遣 D")).to_be_visible()
    page.keyboard.press("d")
    expect(dialog.get_by_role("combobox")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".toasts")).to_contain_text("派遣 · 已完成")


def test_who_was_first_is_said_in_a_sentence(seat: Seat, up: Up) -> None:
    (cover,) = covers(up, 1)
    page = seat.open()
    tilt(up, cover)
    expect(seat.row(cover)).to_be_visible()
    seat.row(cover).click()
    expect(page.get_by_role("button", name="确认 A")).to_be_visible()
    alarm = _alarm(up, cover)

    def be_second(route: Route) -> None:
        _act(up, f"/api/v1/alarms/{alarm}/acknowledge", {"actor": "席位2"})
        route.continue_()

    seat.expected.add("409")
    page.route(f"**/api/v1/alarms/{alarm}/acknowledge", be_second, times=1)
    page.keyboard.press("a")
    expect(page.locator(".toasts .bad")).to_contain_text("席位2")


def test_rows_stay_where_they_are_while_somebody_reads(seat: Seat, up: Up) -> None:
    first, second = covers(up, 2)
    page = seat.open()
    tilt(up, first)
    expect(seat.row(first)).to_be_visible()
    seat.row(first).click()
    before = seat.row(first).bounding_box()
    tilt(up, second)
    pill = page.get_by_role("button", name=re.compile("条新告警"))
    expect(pill).to_be_visible()
    assert seat.row(second).count() == 0
    assert seat.row(first).bounding_box() == before
    pill.click()
    expect(seat.row(second)).to_be_visible()


def test_the_url_gives_a_colleague_the_same_view(seat: Seat) -> None:
    page = seat.open("/", lang="en", theme="light", level="4", q="cover")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(page.get_by_role("searchbox")).to_have_value("cover")
    assert "level=4" in page.url


def test_times_are_the_citys_wherever_the_browser_is(seat: Seat, up: Up) -> None:
    page = seat.open()
    shown = page.locator(".link small").inner_text()
    hour = httpx.get(f"{up.facts['api_url']}/api/v1/snapshot").json()["taken_at"][11:13]
    assert int(shown[:2]) in {(int(hour) + 8) % 24, (int(hour) + 9) % 24}


def test_a_hub_that_restarts_is_live_again_by_itself(seat: Seat, up: Up) -> None:
    page = seat.open()
    seat.expected |= {"ERR_", "Failed to load"}
    os.kill(up.child("serve"), signal.SIGKILL)
    expect(page.locator(".bar")).to_contain_text("连接")
    expect(page.locator(".link.live")).to_be_visible(timeout=30_000)
    (cover,) = covers(up, 1)
    tilt(up, cover)
    expect(seat.row(cover)).to_be_visible()


def test_the_seventh_tab_works_as_the_first(seat: Seat, up: Up) -> None:
    seat.open()
    tabs = [seat.tab() for _ in range(6)]
    for tab in tabs:
        tab.goto("/")
        expect(tab.locator(".link.live")).to_be_visible()
    (cover,) = covers(up, 1)
    tilt(up, cover)
    name = name_of(up, cover)
    for tab in [seat.page, *tabs]:
        tab.bring_to_front()
        expect(tab.locator("section .row").filter(has_text=name)).to_be_visible()


def test_a_phone_shows_the_list_first_and_scrolls_one_way(seat: Seat, up: Up) -> None:
    (cover,) = covers(up, 1)
    tilt(up, cover)
    seat.page.set_viewport_size(NARROW)
    page = seat.open()
    expect(seat.row(cover)).to_be_visible()
    for path in ("/", "/cases", "/devices", "/handover", "/reports", "/wall"):
        seat.open(path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= NARROW["width"], path


@pytest.mark.parametrize("path", ["/cases", "/devices", "/handover", "/reports", "/wall"])
def test_every_page_opens_in_both_languages_without_a_complaint(seat: Seat, path: str) -> None:
    for language, theme in (("zh", "dark"), ("en", "light")):
        page = seat.open(path, lang=language, theme=theme)
        expect(page.locator("main")).not_to_be_empty()
        page.wait_for_timeout(300)


def test_a_hostile_name_is_shown_and_not_run(seat: Seat, up: Up) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202e井盖"
    (cover,) = covers(up, 1)
    with psycopg.connect(up.database_url) as conn:
        conn.execute("UPDATE hub.device SET name = %s WHERE device_id = %s", [hostile, cover])
    time.sleep(1)
    page = seat.open()
    tilt(up, cover)
    row = seat.rows.filter(has_text="<img src=x")
    expect(row.first).to_be_visible()
    row.first.click()
    expect(page.get_by_role("article")).to_contain_text("<img src=x")


def _selected(page: Page) -> str:
    return str(page.evaluate("new URLSearchParams(location.search).get('sel')"))


def _alarm(up: Up, device_id: str) -> int:
    alarms = up.get(f"/api/v1/alarms?device={device_id}")["items"]
    return int(alarms[0]["alarm_id"])


def _act(up: Up, path: str, body: dict[str, str]) -> None:
    answer = httpx.post(f"{up.facts['api_url']}{path}", json=body)
    assert answer.status_code == 200, answer.text
