from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from core.db import Pool
from core.errors import ConflictError, NotFoundError
from devices.ownership import resolve_department
from devices.registry import Registry, enrol, find, list_devices, register
from devices.secret import device_secret, secret_hash

NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)
KEY = bytes(range(32))
GRID = "141182001001001"
ELSEWHERE = "141182002001001"
LAMP = "1411820118000001"
ORPHAN = "1411820118000002"

CITY = f"""
INSERT INTO hub.department (dept_code, name_zh, is_street) VALUES
    ('JD1', '文峰街道', true), ('JD2', '西河街道', true), ('LD', '路灯所', false),
    ('LD1', '路灯一队', false), ('GG', '公用设施处', false), ('HW', '环卫中心', false);
INSERT INTO hub.grid_cell (grid_code, dept_code) VALUES ('{GRID}', 'JD1'), ('{ELSEWHERE}', 'JD2');
INSERT INTO hub.component (component_code, grid_code, dept_code) VALUES
    ('{LAMP}', '{GRID}', 'LD1'), ('{ORPHAN}', '{GRID}', NULL);
"""


def test_a_number_is_given_once_and_for_ever(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        first = register(conn, "MH-1", "manhole_cover", name="一号", lon=111.78, lat=37.26)
        second = register(conn, "MH-2", "manhole_cover", limits={"batt": {"blue": 3.3}})
        assert first.device_no != second.device_no
        assert find(conn, "MH-1") == first
        assert find(conn, "MH-2").limits == {"batt": {"blue": 3.3}}
        with pytest.raises(ConflictError, match="already"):
            register(conn, "MH-1", "street_lamp")
        with pytest.raises(NotFoundError, match="MH-9"):
            find(conn, "MH-9")


@pytest.mark.parametrize(
    ("device_id", "kind", "more", "why"),
    [
        ("MH 1", "manhole_cover", {}, "no device id"),
        ("MH-1", "toaster", {}, "no kind"),
        ("MH-1", "manhole_cover", {"limits": {"shock": {"red": 1}}}, "no limit 'shock'"),
        ("MH-1", "manhole_cover", {"lon": 37.26, "lat": 111.78}, "swapped"),
    ],
)
def test_a_device_that_cannot_be_is_refused(
    database: str, device_id: str, kind: str, more: dict[str, Any], why: str
) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        with pytest.raises(ValueError, match=why):
            register(conn, device_id, kind, **more)
        assert list_devices(conn) == []


def test_a_device_in_a_place_nobody_knows_is_refused(database: str) -> None:
    with (
        psycopg.connect(database, autocommit=True) as conn,
        pytest.raises(NotFoundError, match="grid_code"),
    ):
        register(conn, "MH-1", "manhole_cover", grid_code=GRID)


def test_only_the_hash_of_a_secret_is_kept(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        register(conn, "MH-1", "manhole_cover", site_key=KEY)
        register(conn, "MH-2", "manhole_cover")
        rows = conn.execute("SELECT secret_hash FROM hub.device ORDER BY device_id").fetchall()
        assert rows == [(secret_hash(device_secret(KEY, "MH-1")),), (None,)]


def test_a_pilot_enrols_by_prefix_once(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        first = enrol(conn, "WG-7")
        assert first is not None
        assert first.kind == "water_gauge"
        assert enrol(conn, "WG-7") == first
        assert enrol(conn, "XX-7") is None


def test_devices_are_listed_page_by_page(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        for number in range(5):
            register(conn, f"SL-{number}", "street_lamp")
        register(conn, "MH-1", "manhole_cover")
        page = list_devices(conn, kind="street_lamp", limit=3)
        rest = list_devices(conn, kind="street_lamp", after=page[-1].device_id)
        assert [device.device_id for device in page + rest] == [f"SL-{n}" for n in range(5)]


def test_a_change_wakes_the_workers_and_a_reload_shows_it(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as watcher:
        watcher.execute("LISTEN hub_device")
        registry = Registry()
        with psycopg.connect(database, autocommit=True) as conn:
            device = register(conn, "MH-1", "manhole_cover", gateway="GW-1")
        assert len(list(watcher.notifies(timeout=5, stop_after=1))) == 1
        registry.load(watcher)
        assert registry.by_id == {"MH-1": device}
        assert registry.by_no == {device.device_no: device}
        assert registry.children("GW-1") == {"MH-1"}


async def ask(pool: Pool, *duties: str, **question: object) -> tuple[str | None, str]:
    """Return department and rule of a question about a lamp."""
    values = {
        "category": "component",
        "class_code": "0118",
        "component_code": None,
        "grid_code": None,
        "device_dept": None,
        "at": NOON,
        **question,
    }
    async with pool.connection() as conn:
        await conn.execute(CITY)
        for duty in duties:
            await conn.execute(
                "INSERT INTO hub.duty (category, class_code, grid_code, dept_code, valid_from,"
                f" valid_to) VALUES {duty}"
            )
        route = await resolve_department(conn, **values)  # type: ignore[arg-type]  # by name
    return route.dept_code, route.rule


ALWAYS = "'-infinity', 'infinity'"
CITYWIDE = f"('component', '0118', NULL, 'LD', {ALWAYS})"
HERE = f"('component', '0118', '{GRID}', 'LD1', {ALWAYS})"


async def test_the_owner_of_the_component_comes_first(pool: Pool) -> None:
    found = await ask(pool, CITYWIDE, HERE, component_code=LAMP)
    assert found == ("LD1", "component_owner")


async def test_then_who_owns_the_class_in_this_cell(pool: Pool) -> None:
    assert await ask(pool, CITYWIDE, HERE, component_code=ORPHAN) == ("LD1", "class_and_grid")


async def test_then_who_owns_the_class_in_the_city(pool: Pool) -> None:
    assert await ask(pool, CITYWIDE, HERE, grid_code=ELSEWHERE) == ("LD", "class_owner")


async def test_a_sub_class_is_stronger_than_its_class(pool: Pool) -> None:
    whole = f"('component', '01', NULL, 'GG', {ALWAYS})"
    assert await ask(pool, whole, CITYWIDE) == ("LD", "class_owner")


async def test_a_whole_class_may_have_an_owner(pool: Pool) -> None:
    whole = f"('component', '01', NULL, 'GG', {ALWAYS})"
    assert await ask(pool, whole, grid_code=GRID) == ("GG", "class_owner")


async def test_then_the_street_office_of_the_cell(pool: Pool) -> None:
    assert await ask(pool, component_code=ORPHAN) == ("JD1", "street_office")


async def test_a_duty_outside_its_dates_is_nobodys(pool: Pool) -> None:
    past = "('component', '0118', NULL, 'LD', '2020-01-01+08', '2026-05-01 12:00+08')"
    future = "('component', '0118', NULL, 'GG', '2026-05-02+08', 'infinity')"
    assert await ask(pool, past, future, component_code=ORPHAN) == ("JD1", "street_office")


async def test_an_event_goes_by_territory_first(pool: Pool) -> None:
    duty = f"('event', '0118', NULL, 'LD', {ALWAYS})"
    assert await ask(pool, duty, category="event", grid_code=GRID) == ("JD1", "street_office")


async def test_an_event_without_a_place_goes_to_its_trade(pool: Pool) -> None:
    duty = f"('event', '0118', NULL, 'LD', {ALWAYS})"
    assert await ask(pool, duty, CITYWIDE, category="event") == ("LD", "class_owner")


async def test_a_duty_for_components_says_nothing_of_events_of_the_same_code(pool: Pool) -> None:
    assert await ask(pool, CITYWIDE, category="event") == (None, "manual")


async def test_a_badge_in_no_cell_goes_to_the_owner_of_the_device(pool: Pool) -> None:
    found = await ask(pool, category="event", class_code="0491", device_dept="HW")
    assert found == ("HW", "device_owner")


async def test_what_nobody_owns_waits_in_the_manual_queue(pool: Pool) -> None:
    assert await ask(pool) == (None, "manual")
