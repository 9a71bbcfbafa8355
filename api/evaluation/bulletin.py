"""The monthly bulletin (月报): composed from the tables, frozen once published, then corrected.

What was published never changes: cases that are handled, reopened or merged later move the figures
of their month, and those that moved become a correction with its own date.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb

from api.evaluation.facts import Shift, read_alarms, read_cases, read_shifts
from api.evaluation.figures import Cut, Facts, Line, Weight, evaluate, read_weights
from api.evaluation.health import AlarmHealth, read_health
from api.evaluation.period import Period, month
from api.shapes import Instant, Shape, Words
from api.store import TENANT, Look
from core.db import Pool, transaction
from core.errors import ConflictError
from core.model import Text
from devices.classes import class_name

_NAMES: Final = """
SELECT 'dept' AS cut, dept_code AS key, name_zh AS zh, coalesce(nullif(name_en, ''), name_zh) AS en
  FROM hub.department
UNION ALL SELECT 'grid', grid_code, coalesce(nullif(name, ''), grid_code),
                 coalesce(nullif(name, ''), grid_code) FROM hub.grid_cell
"""
_CLASSES: Final = "SELECT DISTINCT class_code, category FROM hub.case WHERE class_code <> ''"
_EDITIONS: Final = """
SELECT edition, published_at, published_by, body FROM hub.bulletin
 WHERE tenant_id = %s AND month = %s ORDER BY edition
"""
_MONTHS: Final = """
SELECT to_char(month, 'YYYY-MM') AS month, min(published_at) AS published_at,
       count(*) - 1 AS corrections
  FROM hub.bulletin WHERE tenant_id = %s GROUP BY 1 ORDER BY 1 DESC LIMIT 120
"""
_LOCK: Final = "SELECT pg_advisory_xact_lock(1129270389)"
_PUBLISH: Final = """
INSERT INTO hub.bulletin (tenant_id, month, edition, published_at, published_by, body)
VALUES (%s, %s, %s, %s, %s, %s)
"""

SOURCES: Final[Mapping[str, Words]] = {
    "sensor": Words(zh="物联感知", en="Sensors"),
    "inspector": Words(zh="监督员", en="Inspectors"),
    "hotline": Words(zh="12345热线", en="12345 hotline"),
    "video": Words(zh="视频", en="Video"),
    "public": Words(zh="公众", en="Citizens"),
}


class Evaluation(Shape):
    """The evaluation of a period."""

    start: Instant
    end: Instant
    upto: Instant
    """What is counted ended here: the period's end, or now."""
    by: Cut
    weights: list[Weight]
    lines: list[Line]


class Change(Shape):
    """A figure of the city that was published and is another now."""

    code: str
    label: Words
    was: float | None
    now: float | None
    was_numerator: int | None
    now_numerator: int | None
    was_denominator: int
    now_denominator: int


class Correction(Shape):
    """What a later edition corrects."""

    edition: int
    published_at: Instant
    published_by: str
    changes: list[Change]


class Bulletin(Shape):
    """A month: as published, with what was corrected since; or a draft of it."""

    month: str
    state: str
    """`draft` until it is published, then `published`: frozen."""
    published_at: Instant | None
    published_by: str | None
    city: Evaluation
    by_dept: Evaluation
    by_class: Evaluation
    by_grid: Evaluation
    by_source: Evaluation
    by_shift: Evaluation
    health: AlarmHealth
    corrections: list[Correction]


class Published(Shape):
    """A month that was published."""

    month: str
    published_at: Instant
    corrections: int


async def read_evaluation(
    look: Look, period: Period, by: Cut, *, now: datetime, zone: ZoneInfo
) -> Evaluation:
    """Return the evaluation of a period, cut by something."""
    (found,) = await _evaluations(look, period, (by,), now=now, zone=zone)
    return found


async def _evaluations(
    look: Look, period: Period, cuts: tuple[Cut, ...], *, now: datetime, zone: ZoneInfo
) -> list[Evaluation]:
    counted = period.upto(now)
    shifts = await read_shifts(look)
    facts = Facts(await read_cases(look, counted), await read_alarms(look, counted), shifts, zone)
    weights = await read_weights(look, counted.end)
    names = await _names(look, shifts)
    return [
        Evaluation(
            start=period.start,
            end=period.end,
            upto=counted.end,
            by=by,
            weights=[Weight(code=code, weight=weight) for code, weight in weights.items()],
            lines=evaluate(facts, counted, by, weights=weights, names=names[by]),
        )
        for by in cuts
    ]


async def _names(look: Look, shifts: list[Shift]) -> dict[str, dict[str, Words]]:
    names: dict[str, dict[str, Words]] = {
        "city": {"": Words(zh="全市", en="Whole city")},
        "source": dict(SOURCES),
        "shift": {shift.shift_code: Words(zh=shift.name_zh, en=shift.name_en) for shift in shifts},
        "dept": {},
        "grid": {},
        "class": {},
    }
    for row in await look.rows(_NAMES):
        names[row["cut"]][row["key"]] = Words(zh=row["zh"], en=row["en"])
    for row in await look.rows(_CLASSES):
        code = row["class_code"]
        shown = class_name(code, row["category"])
        names["class"][code] = Words(zh=f"{code} {shown}", en=f"{code} {shown}")
    return names


async def compose(look: Look, first: date, *, now: datetime, zone: ZoneInfo) -> Bulletin:
    """Return the bulletin of a month as the tables give it now, a draft."""
    period = month(first, zone)
    cuts: tuple[Cut, ...] = ("city", "dept", "class", "grid", "source", "shift")
    city, dept, klass, grid, source, shift = await _evaluations(
        look, period, cuts, now=now, zone=zone
    )
    return Bulletin(
        month=f"{first:%Y-%m}",
        state="draft",
        published_at=None,
        published_by=None,
        city=city,
        by_dept=dept,
        by_class=klass,
        by_grid=grid,
        by_source=source,
        by_shift=shift,
        health=await read_health(look, period.upto(now), now, None),
        corrections=[],
    )


async def read_bulletin(look: Look, first: date, *, now: datetime, zone: ZoneInfo) -> Bulletin:
    """Return the bulletin of a month: as published, else a draft."""
    found = _published(await look.rows(_EDITIONS, [TENANT, first]))
    return found or await compose(look, first, now=now, zone=zone)


async def list_bulletins(look: Look) -> list[dict[str, Any]]:
    """Return the months that were published, newest first."""
    return await look.rows(_MONTHS, [TENANT])


async def publish(
    pool: Pool, first: date, *, actor: str, now: datetime, zone: ZoneInfo
) -> tuple[Bulletin, bool]:
    """Publish a month, or correct it; return it, and whether anything was added.

    Raises:
        ConflictError: The month is not over.
    """
    if month(first, zone).end > now:
        raise ConflictError(
            Text(f"{first:%Y-%m}尚未结束, 不能发布", f"{first:%Y-%m} is not over: not published")
        )
    async with transaction(pool) as conn:
        await conn.execute(_LOCK)  # before anything is read: two publishers see each other
        look = Look(conn)
        before = _published(await look.rows(_EDITIONS, [TENANT, first]))
        fresh = await compose(look, first, now=now, zone=zone)
        body: dict[str, Any] = fresh.model_dump(mode="json")
        if before is not None:
            found = changes(before, fresh)
            if not found:
                return before, False
            body = {"changes": [change.model_dump(mode="json") for change in found]}
        edition = 1 if before is None else len(before.corrections) + 2
        await conn.execute(_PUBLISH, [TENANT, first, edition, now, actor, Jsonb(body)])
        done = _published(await look.rows(_EDITIONS, [TENANT, first]))
    return done or fresh, True


def changes(published: Bulletin, fresh: Bulletin) -> list[Change]:
    """Return the city's figures that differ from what was published and corrected so far."""
    old = {figure.code: figure for figure in published.city.lines[0].figures}
    told = {change.code: change for edition in published.corrections for change in edition.changes}
    found = []
    for new in fresh.city.lines[0].figures:
        was = old.get(new.code)
        if was is None:
            continue  # an indicator that a later release brought is no correction
        last = told.get(new.code)
        before = (
            (last.now_numerator, last.now_denominator, last.now)
            if last
            else (was.numerator, was.denominator, was.value)
        )
        if before != (new.numerator, new.denominator, new.value):
            found.append(
                Change(
                    code=new.code,
                    label=new.label,
                    was=before[2],
                    now=new.value,
                    was_numerator=before[0],
                    now_numerator=new.numerator,
                    was_denominator=before[1],
                    now_denominator=new.denominator,
                )
            )
    return found


def _published(rows: list[dict[str, Any]]) -> Bulletin | None:
    if not rows:
        return None
    first, *later = rows
    return Bulletin.model_validate(
        {
            **first["body"],
            "state": "published",
            "published_at": first["published_at"],
            "published_by": first["published_by"],
            "corrections": [{**row["body"], **row} for row in later],
        }
    )
