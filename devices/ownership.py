"""Whose business it is (确权): the first step of routing a case to a department.

Components go by owner first, then by territory (先属主、后属地); events by territory first, then by
owner (先属地、后属主). The answer names the rule that gave it, so that staff see why, and may be no
department at all: then the case waits in the centre's own queue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import psycopg
from psycopg.rows import dict_row

from devices.classes import Category

Rule = Literal[
    "component_owner", "class_and_grid", "class_owner", "street_office", "device_owner", "manual"
]

_OF_COMPONENTS: Final[tuple[Rule, ...]] = (
    "component_owner",
    "class_and_grid",
    "class_owner",
    "street_office",
    "device_owner",
)
_OF_EVENTS: Final[tuple[Rule, ...]] = (
    "street_office",
    "class_and_grid",
    "class_owner",
    "device_owner",
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a case goes.

    Attributes:
        dept_code: The department; None: the centre's manual queue.
        rule: What decided.
        class_code: Class and sub-class of the case: the component's own where there is one.
        grid_code: The grid cell of the case: the given one, else the component's.
    """

    dept_code: str | None
    rule: Rule
    class_code: str
    grid_code: str | None


CANDIDATES: Final = """
WITH place AS (
    SELECT c.dept_code AS owner, coalesce(%(grid_code)s, c.grid_code) AS grid_code,
           CASE WHEN %(category)s = 'component'
                THEN coalesce(c.class_code, %(class_code)s) ELSE %(class_code)s END AS class_code
      FROM (VALUES (1)) AS one (row)
      LEFT JOIN hub.component c ON c.component_code = %(component_code)s
), duty AS (
    SELECT d.dept_code, d.grid_code,
           row_number() OVER (PARTITION BY d.grid_code IS NULL
               ORDER BY length(d.class_code) DESC, d.valid_from DESC, d.duty_id DESC) AS rank
      FROM hub.duty d JOIN place p ON d.class_code IN (p.class_code, left(p.class_code, 2))
     WHERE d.category = %(category)s AND (d.grid_code IS NULL OR d.grid_code = p.grid_code)
       AND d.valid_from <= %(at)s AND %(at)s < d.valid_to
)
SELECT p.grid_code, p.class_code, p.owner AS component_owner,
       (SELECT dept_code FROM duty WHERE grid_code IS NOT NULL AND rank = 1) AS class_and_grid,
       (SELECT dept_code FROM duty WHERE grid_code IS NULL AND rank = 1) AS class_owner,
       (SELECT dept_code FROM hub.grid_cell g WHERE g.grid_code = p.grid_code) AS street_office
  FROM place p
"""


def choose_department(
    candidates: Mapping[str, str | None], category: Category
) -> tuple[str | None, Rule]:
    """Return the department that comes first, and the rule that names it.

    >>> choose_department({"street_office": "JD01", "class_owner": "SZ"}, "component")
    ('SZ', 'class_owner')
    >>> choose_department({"street_office": "JD01", "class_owner": "SZ"}, "event")
    ('JD01', 'street_office')
    >>> choose_department({}, "event")
    (None, 'manual')
    """
    for rule in _OF_COMPONENTS if category == "component" else _OF_EVENTS:
        if dept_code := candidates.get(rule):
            return dept_code, rule
    return None, "manual"


async def resolve_department(
    conn: psycopg.AsyncConnection[Any],
    *,
    category: Category,
    class_code: str,
    at: datetime,
    component_code: str | None = None,
    grid_code: str | None = None,
    device_dept: str | None = None,
) -> Route:
    """Return where a case goes.

    Args:
        conn: The database; nothing is changed.
        category: Whether it is a component that is broken or an event that happens.
        class_code: Class and sub-class, 4 digits; a component's own code is stronger.
        at: When: duties have dates of validity. Aware, UTC.
        component_code: The component, if one is known.
        grid_code: The grid cell; unset: the component's.
        device_dept: Owner of the device, asked last: badges and vehicles stand in no cell.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            CANDIDATES,
            {
                "category": category,
                "class_code": class_code,
                "component_code": component_code,
                "grid_code": grid_code,
                "at": at,
            },
        )
        found = await cursor.fetchone()
    assert found is not None  # noqa: S101 - one row for the one place, always
    dept_code, rule = choose_department({**found, "device_owner": device_dept}, category)
    return Route(dept_code, rule, found["class_code"], found["grid_code"])
