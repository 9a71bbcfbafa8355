"""A simulated shift in the database: judged once, half an hour after its end, by imported plans."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql

from analytics.patrol import patrol
from analytics.rounds import judge_rounds
from core.clock import ManualClock
from core.db import Pool
from core.model import to_micros
from core.tables import make_days
from devices import KINDS
from devices.importer import import_file
from simulators.city import City, build_city
from simulators.city_devices import CityDevice
from simulators.city_files import write_city
from simulators.physics import PHYSICS
from simulators.places import to_metres
from simulators.rest import RestingDevice

ZONE = ZoneInfo("Asia/Shanghai")
DAY = datetime(2026, 6, 9, tzinfo=ZONE)
SHEETS = {
    "departments": "departments.csv",
    "grid": "grid_cells.geojson",
    "components": "components.csv",
    "devices": "devices.csv",
    "segments": "segments.csv",
    "plans": "plans.csv",
}
Change = Callable[[dict[str, float]], bool]


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(7, components=0, scale=0.005)


@pytest.fixture
def town(database: str, city: City, tmp_path: Path) -> str:
    """The database with a small city in it."""
    write_city(city, tmp_path)
    with psycopg.connect(database, autocommit=True) as conn:
        for what, name in SHEETS.items():
            import_file(conn, what, tmp_path / name).raise_for_problems()  # type: ignore[arg-type]  # a key
    return database


def one(city: City, kind: str) -> CityDevice:
    return next(device for device in city.devices if device.kind == kind)


def shift(city: City, device: CityDevice) -> tuple[datetime, datetime]:
    plan = next(plan for plan in city.plans if plan.device_id == device.device_id)
    begin, end = (
        datetime.combine(DAY.date(), time.fromisoformat(at), ZONE).astimezone(UTC)
        for at in (plan.begins, plan.ends)
    )
    return begin, end if end > begin else end + timedelta(days=1)


def drive(
    url: str, device: CityDevice, begin: datetime, end: datetime, change: Change | None = None
) -> None:
    """Store what a device sends in a shift."""
    kind = KINDS[device.kind]
    rest = RestingDevice(kind, device.device_id, seed=7, lon=device.lon, lat=device.lat)
    physics = PHYSICS[device.kind](
        kind, device.device_id, seed=7, lon=device.lon, lat=device.lat, limits={}
    )
    names = [metric.name for metric in kind.metrics]
    statement = sql.SQL("COPY {} (ts, device_no, quality, {}) FROM STDIN").format(
        kind.table.identifier, sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with psycopg.connect(url, autocommit=True) as conn:
        make_days(conn, kind.table, {begin.date(), end.date()})
        row = conn.execute(
            "SELECT device_no FROM hub.device WHERE device_id = %s", [device.device_id]
        ).fetchone()
        assert row is not None
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            at = begin
            while at < end:
                values = rest.values(to_micros(at))
                physics.apply(to_micros(at), values)
                if change is None or change(values):
                    copy.write_row([at, row[0], 0, *(values[name] for name in names)])
                at += timedelta(seconds=kind.interval_s)


async def test_a_shift_done_is_kept_with_its_shares_and_raises_nothing(
    town: str, pool: Pool, city: City
) -> None:
    sweeper = one(city, "sanitation_vehicle")
    begin, end = shift(city, sweeper)
    drive(town, sweeper, begin, end)
    assert await judge_rounds(pool, ManualClock(end + timedelta(minutes=29)), ZONE) == []
    assert await rounds(pool, begin) == []
    clock = ManualClock(end + timedelta(minutes=31))
    found = [f for f in await judge_rounds(pool, clock, ZONE) or [] if f.rule_id == "route_missed"]
    assert found == []
    ((done, unknown),) = await rounds(pool, begin)
    assert done > 0.95
    assert unknown < 0.05


async def rounds(pool: Pool, begin: datetime) -> list[tuple[float, float]]:
    async with pool.connection() as conn:
        rows = await conn.execute(
            "SELECT done, unknown FROM hub.work_round WHERE starts_at = %s AND work = 'sweep'",
            [begin],
        )
        return await rows.fetchall()


async def test_missed_segments_are_told_one_by_one_and_once(
    town: str, pool: Pool, city: City
) -> None:
    sweeper = one(city, "sanitation_vehicle")
    begin, end = shift(city, sweeper)
    plan = next(plan for plan in city.plans if plan.device_id == sweeper.device_id)
    names = {each.segment_code: each for each in city.segments}
    skipped = [names[code] for code in plan.segments[3:5]]

    def skip(values: dict[str, float]) -> bool:
        x, y = to_metres(values["lon"], values["lat"])
        for segment in skipped:
            (x0, y0), (x1, y1) = (to_metres(*point) for point in segment.path)
            wide, high = sorted((x0, x1)), sorted((y0, y1))
            if wide[0] - 20 < x < wide[1] + 20 and high[0] - 20 < y < high[1] + 20:
                values["brush"] = values["spray"] = 0.0
        return True

    drive(town, sweeper, begin, end, skip)
    clock = ManualClock(end + timedelta(minutes=31))
    found = [f for f in await judge_rounds(pool, clock, ZONE) or [] if f.rule_id == "route_missed"]
    assert {f.detail["segment"] for f in found} == {each.segment_code for each in skipped}
    for finding in found:
        assert all(each.name in finding.explain.zh for each in skipped)
        assert finding.detail["dry"] > 0.5
    clock.advance(600)
    assert await judge_rounds(pool, clock, ZONE) == []


async def test_a_vehicle_in_a_tunnel_for_half_its_shift_raises_nothing(
    town: str, pool: Pool, city: City
) -> None:
    sweeper = one(city, "sanitation_vehicle")
    begin, end = shift(city, sweeper)
    middle = begin + (end - begin) / 4
    drive(town, sweeper, begin, middle)
    clock = ManualClock(end + timedelta(minutes=31))
    found = await judge_rounds(pool, clock, ZONE) or []
    assert [f for f in found if f.rule_id == "route_missed"] == []
    ((done, unknown),) = await rounds(pool, begin)
    assert done + unknown > 0.95


async def test_a_badges_share_is_kept_and_only_little_of_it_told(
    town: str, pool: Pool, city: City
) -> None:
    worker = one(city, "sanitation_worker")
    begin, end = shift(city, worker)
    drive(town, worker, begin, end)
    clock = ManualClock(end + timedelta(minutes=31))
    assert [f for f in await judge_rounds(pool, clock, ZONE) or [] if "section" in f.rule_id] == []
    async with pool.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT r.done, r.unknown FROM hub.work_round r JOIN hub.device USING (device_no)"
                " WHERE device_id = %s AND r.work = 'presence'",
                [worker.device_id],
            )
        ).fetchone()
    assert row is not None
    assert row[0] > 0.9
    assert row[1] < 0.1


async def test_a_badge_elsewhere_is_told_by_its_share_alone(
    town: str, pool: Pool, city: City
) -> None:
    worker = one(city, "sanitation_worker")
    begin, end = shift(city, worker)

    def elsewhere(values: dict[str, float]) -> bool:
        values["lon"] += 0.02
        return True

    drive(town, worker, begin, end, elsewhere)
    found = await judge_rounds(pool, ManualClock(end + timedelta(minutes=31)), ZONE) or []
    absent = [f for f in found if f.rule_id == "section_absent"]
    assert [f.explain.en for f in absent] == [
        "on the section for 0% of the known time of this shift (0% unknown, not counted)"
    ]
    assert "lon" not in absent[0].detail


async def test_a_dry_run_is_told_within_the_shift_and_over_with_it(
    town: str, pool: Pool, city: City
) -> None:
    sweeper = one(city, "sanitation_vehicle")
    begin, end = shift(city, sweeper)

    def dry(values: dict[str, float]) -> bool:
        values["brush"] = values["spray"] = 0.0
        return True

    drive(town, sweeper, begin, begin + timedelta(minutes=30), dry)
    found = []
    for minutes in range(2, 34, 4):
        clock = ManualClock(begin + timedelta(minutes=minutes))
        found += await patrol(pool, clock, ZONE) or []
    assert [(f.rule_id, f.edge.value) for f in found][:1] == [("dry_run", "open")]
    assert (found[0].ts - found[0].first_ts) / 6e7 == pytest.approx(5, abs=0.5)
    found = await patrol(pool, ManualClock(end + timedelta(seconds=1)), ZONE) or []
    assert {(f.rule_id, f.edge.value) for f in found} <= {("dry_run", "clear")}
