"""The city's calendar in its tables: holidays and make-up days by year and version, and its hours.

Holidays are what the State Council announces each November; the library ``chinesecalendar`` carries
them, and a city may correct a year by storing a version of its own.
"""

from datetime import date, datetime
from typing import Final

import chinese_calendar.constants as announced
from psycopg import sql

from alerts.rows import select
from alerts.worktime import Calendar
from core.db import Connection

SOURCE: Final = "chinesecalendar"

_YEARS: Final = sql.SQL("""
SELECT year, max(version) AS version FROM hub.calendar_year
 WHERE year BETWEEN %(year)s - 1 AND %(year)s + 2 GROUP BY year ORDER BY year
""")
_DAYS: Final = sql.SQL("""
SELECT d.day, d.works FROM hub.calendar_day d
  JOIN (SELECT year, max(version) AS version FROM hub.calendar_year
         WHERE year BETWEEN %(year)s - 1 AND %(year)s + 2 GROUP BY year) AS v USING (year, version)
""")
_HOURS: Final = sql.SQL("SELECT begins, ends FROM hub.working_hours ORDER BY begins")
_STORED: Final = sql.SQL("""
SELECT y.version, y.source,
       coalesce(jsonb_object_agg(d.day, d.works) FILTER (WHERE d.day IS NOT NULL), '{}') AS days
  FROM hub.calendar_year y LEFT JOIN hub.calendar_day d USING (year, version)
 WHERE y.year = %(year)s GROUP BY y.version, y.source ORDER BY y.version DESC LIMIT 1
""")
_ADD_YEAR: Final = "INSERT INTO hub.calendar_year VALUES (%s, %s, %s, %s)"
_ADD_DAYS: Final = "INSERT INTO hub.calendar_day VALUES (%s, %s, %s, %s, %s)"


async def load_calendar(conn: Connection, at: datetime) -> Calendar:
    """Return when the city works, around a moment."""
    named = {"year": at.year}
    years = await select(conn, _YEARS, named)
    days = {row["day"]: row["works"] for row in await select(conn, _DAYS, named)}
    hours = [(row["begins"], row["ends"]) for row in await select(conn, _HOURS, {})]
    version = next(
        (f"{row['year']}.{row['version']}" for row in years if row["year"] == at.year), ""
    )
    return Calendar(version, days, hours)


async def store_calendar(conn: Connection, now: datetime) -> list[int]:
    """Store the years that were announced and are not stored yet, or differ from what was.

    A year that a city corrected by hand (another ``source``) is left alone.

    Args:
        conn: The transaction.
        now: The hub's time: years long past are left out.

    Returns:
        The years that are new or changed.
    """
    changed = []
    for year, days in sorted(announced_days().items()):
        if year < now.year - 1:
            continue
        stored = await select(conn, _STORED, {"year": year})
        if stored and stored[0]["source"] != SOURCE:
            continue
        plain = {day.isoformat(): works for day, (works, _) in days.items()}
        if stored and stored[0]["days"] == plain:
            continue
        version = stored[0]["version"] + 1 if stored else 1
        await conn.execute(_ADD_YEAR, [year, version, SOURCE, now])
        async with conn.cursor() as cursor:
            rows = [(year, version, day, works, name) for day, (works, name) in days.items()]
            await cursor.executemany(_ADD_DAYS, rows)
        changed.append(year)
    return changed


def announced_days() -> dict[int, dict[date, tuple[bool, str]]]:
    """Return the days of each year that are not what their weekday says, with their names."""
    years: dict[int, dict[date, tuple[bool, str]]] = {}
    for works, days in ((False, announced.holidays), (True, announced.workdays)):
        for day, name in days.items():
            years.setdefault(day.year, {})[day] = works, str(name)
    return years
