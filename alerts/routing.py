"""Who gets a case (派遣): the owner that the city's tables name, else the centre's own queue."""

from datetime import datetime

from alerts.facts import Facts
from core.db import Connection
from devices.kind import AlarmRule
from devices.ownership import Route, resolve_department


async def find_department(conn: Connection, facts: Facts, rule: AlarmRule, at: datetime) -> Route:
    """Return the department for a case of this rule on this device, and the rule that named it.

    Args:
        conn: The database; nothing is changed.
        facts: The device and its place.
        rule: The alarm rule, which gives category and class.
        at: When: duties have dates of validity.
    """
    return await resolve_department(
        conn,
        category=rule.category,
        class_code=rule.class_code,
        at=at,
        component_code=facts.component_code,
        grid_code=facts.grid_code,
        device_dept=facts.dept_code,
    )
