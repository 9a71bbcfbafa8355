"""From stored readings to a model, and from a model to a second opinion."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest

from analytics.opinion import Opinions, ask
from analytics.training import train
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConfigError
from core.tables import make_days
from devices import KINDS
from tests.batches import told

NIGHT = datetime(2026, 6, 9, 14, tzinfo=UTC)
KIND = KINDS["street_lamp"]
COPY = "COPY hub.reading_street_lamp (ts, device_no, quality, {}) FROM STDIN"
FIELDS = '"on", power, pf, temp, leak'


def readings(conn: psycopg.Connection[object], lamps: int, rows: int) -> None:
    chance = np.random.default_rng(7)
    make_days(conn, KIND.table, {NIGHT.date()})
    with conn.cursor() as cursor, cursor.copy(COPY.format(FIELDS)) as copy:
        for n in range(rows):
            for lamp in range(1, lamps + 1):
                power = 120 + chance.normal(0, 1.2)
                copy.write_row(
                    [
                        NIGHT + timedelta(minutes=n),
                        lamp,
                        0,
                        1.0,
                        power,
                        0.95 + chance.normal(0, 0.01),
                        0.35 * power + chance.normal(0, 0.5),
                        abs(2 + chance.normal(0, 0.5)),
                    ]
                )


@pytest.fixture
def street(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as conn:
        for lamp in range(10):
            conn.execute(
                "INSERT INTO hub.device (device_id, kind) VALUES (%s, 'street_lamp')",
                [f"SL-{lamp}"],
            )
        readings(conn, 10, 150)
    return database


async def say(pool: Pool, at: datetime, odd: bool) -> None:
    async with pool.connection() as conn:
        for lamp in range(1, 11):
            power, pf = (60.0, 0.7) if odd and lamp == 4 else (120.0, 0.95)
            await conn.execute(
                'INSERT INTO hub.last_street_lamp (ts, device_no, quality, "on", power, pf, temp,'
                " leak) VALUES (%s, %s, 0, 1, %s, %s, 42, 2) ON CONFLICT (device_no) DO UPDATE"
                " SET ts = excluded.ts, power = excluded.power, pf = excluded.pf",
                [at, lamp, power, pf],
            )


async def test_a_model_is_trained_known_by_its_hash_and_asked(
    street: str, pool: Pool, tmp_path: Path
) -> None:
    end = NIGHT + timedelta(hours=3)
    with psycopg.connect(street) as conn:
        done = train(conn, "street_lamp", begin=NIGHT, end=end, folder=tmp_path, now=end, trees=50)
        row = conn.execute(
            "SELECT features, row_count, library, window_from FROM hub.model WHERE model_hash = %s",
            [done.model_hash],
        ).fetchone()
    assert row is not None
    assert row[:2] == (["power", "pf", "temp", "leak"], 1500)
    assert row[2].startswith("scikit-learn ")
    clock, opinions = ManualClock(end), Opinions(tmp_path)
    found = []
    for minute in range(1, 5):
        clock.advance(60)
        await say(pool, clock.now(), odd=minute > 1)
        found += await ask(pool, clock, opinions) or []
        assert await ask(pool, clock, opinions) == []  # a reading is judged once
    assert told(found) == [("unlike_class", "open")]
    assert found[0].device_no == 4
    assert found[0].detail["model"] == done.model_hash
    for _ in range(3):
        clock.advance(60)
        await say(pool, clock.now(), odd=False)
        found += await ask(pool, clock, opinions) or []
    assert told(found) == [("unlike_class", "open"), ("unlike_class", "clear")]


async def test_a_file_the_database_does_not_know_is_never_asked(
    street: str, pool: Pool, tmp_path: Path
) -> None:
    end = NIGHT + timedelta(hours=3)
    with psycopg.connect(street) as conn:
        done = train(conn, "street_lamp", begin=NIGHT, end=end, folder=tmp_path, now=end, trees=2)
    done.path.write_bytes(b"something else")
    clock = ManualClock(end)
    await say(pool, clock.now(), odd=True)
    assert await ask(pool, clock, Opinions(tmp_path)) == []


def test_too_few_readings_are_refused(street: str, tmp_path: Path) -> None:
    end = NIGHT + timedelta(minutes=5)
    with psycopg.connect(street) as conn, pytest.raises(ConfigError, match="training wants"):
        train(conn, "street_lamp", begin=NIGHT, end=end, folder=tmp_path, now=end)
