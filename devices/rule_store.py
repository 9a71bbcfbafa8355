"""Rules of a city in their table: each change checked, kept for ever, and noted in the audit.

Nothing is overwritten. What holds is the newest row of a scope, so taking a change back is one more
row: what the scope said before. Workers and the alarm engine hear of each by ``hub_rule``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from core.batch import Finding
from core.db import Connection, Pool, transaction
from core.errors import ConflictError, NotFoundError, RefusedError
from core.model import Text
from devices.registry import SELECT_NUMBERED, SELECT_ONE, Device
from devices.rule_fields import fields_of
from devices.rulebook import Origin, Rulebook, doubt_rule

_LOCK: Final = "LOCK TABLE hub.alarm_rule IN SHARE ROW EXCLUSIVE MODE"
"""One change at a time: numbers become visible in order, and no two are the same version."""
_ADD: Final = """
INSERT INTO hub.alarm_rule
    (kind, rule_id, scope, version, body, valid_from, author, reason, undoes, backtest_ref)
VALUES (%(kind)s, %(rule_id)s, %(scope)s, %(version)s, %(body)s, %(at)s, %(author)s, %(reason)s,
    %(undoes)s, %(backtest_ref)s)
"""
_HISTORY: Final = """
SELECT version, scope, body, valid_from, author, reason, undoes, backtest_ref
  FROM hub.alarm_rule WHERE kind = %(kind)s AND rule_id = %(rule_id)s
   AND (%(scope)s::text IS NULL OR scope = %(scope)s)
 ORDER BY version DESC LIMIT %(limit)s
"""
_NOTE: Final = """
INSERT INTO hub.audit (at, actor, action, object, object_id, outcome, detail)
VALUES (%s, %s, %s, 'rule', %s, %s, %s)
"""
_GRID_CELL: Final = "SELECT 1 FROM hub.grid_cell WHERE grid_code = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What of a rule is changed.

    Attributes:
        kind: Of the devices.
        rule_id: The rule.
        scope: ``kind``, ``class:0102``, ``grid:…`` or ``device:…``.
    """

    kind: str
    rule_id: str
    scope: str

    @property
    def name(self) -> str:
        """Its name in the audit."""
        return f"{self.kind}/{self.rule_id}/{self.scope}"


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who changes a rule, and why.

    Attributes:
        actor: Who.
        at: When.
        reason: Why.
        seen: The version that the person saw; None: whatever it is now.
        backtest_ref: The back-test that speaks for it.
    """

    actor: str
    at: datetime
    reason: str
    seen: int | None = None
    backtest_ref: str | None = None


async def put_rule(
    pool: Pool, target: Target, body: Mapping[str, Any], by: By
) -> Mapping[str, Any]:
    """Say what differs of a rule in a scope; it replaces what the scope said before.

    Returns:
        ``version``, ``scope`` and ``body``, JSON-ready.

    Raises:
        RefusedError: A field that is not there, or a value that cannot be.
        NotFoundError: There is no such rule, device or grid cell.
        ConflictError: Somebody changed the rule after the version that was seen.
    """
    return await _change(pool, target, by, "rule_set", dict(body))


async def undo_rule(pool: Pool, target: Target, by: By) -> Mapping[str, Any]:
    """Take the last change of a scope back, by a new version; undone twice, it is done again.

    Returns:
        As :func:`put_rule`.

    Raises:
        ConflictError: Nothing was changed there, or somebody changed the rule meanwhile.
        NotFoundError: As :func:`put_rule`.
    """
    return await _change(pool, target, by, "rule_undo", None)


async def read_history(
    conn: Connection, kind: str, rule_id: str, *, scope: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Return the changes of a rule, newest first.

    Raises:
        NotFoundError: There is no such rule.
    """
    _check_rule(kind, rule_id)
    async with conn.cursor(row_factory=dict_row) as cursor:
        facts = {"kind": kind, "rule_id": rule_id, "scope": scope, "limit": limit}
        return await (await cursor.execute(_HISTORY, facts)).fetchall()


async def read_rulebook(conn: Connection) -> Rulebook:
    """Return all that was changed."""
    rules = Rulebook()
    await rules.refresh(conn)
    return rules


async def read_device(conn: Connection, device_id: str) -> Device:
    """Return a device.

    Raises:
        NotFoundError: There is none of this id.
    """
    row = await (await conn.execute(SELECT_ONE, [device_id])).fetchone()
    if row is None:
        raise NotFoundError(Text(f"没有设备 {device_id}", f"there is no device {device_id!r}"))
    return Device(*row)


async def stamp(conn: Connection, findings: Sequence[Finding]) -> list[Finding]:
    """Return findings of a slow role with the versions and ranks of the rules that hold now."""
    rules = await read_rulebook(conn)
    if not findings or not rules.change:
        return list(findings)
    numbers = sorted({finding.device_no for finding in findings})
    rows = await (await conn.execute(SELECT_NUMBERED, [numbers])).fetchall()
    devices = {device.device_no: device for device in (Device(*row) for row in rows)}
    return [rules.stamped(each, devices.get(each.device_no)) for each in findings]


async def _change(
    pool: Pool, target: Target, by: By, action: str, body: dict[str, Any] | None
) -> Mapping[str, Any]:
    detail: dict[str, Any] = {"reason": by.reason}
    try:
        async with transaction(pool) as conn:
            await conn.execute(_LOCK)
            version = await _write(conn, target, by, body, detail)
            await conn.execute(_NOTE, [*_noted(target, by, action), "done", Jsonb(detail)])
    except (ConflictError, RefusedError) as error:
        async with transaction(pool) as conn:
            refused = Jsonb(detail | {"refused": error.text.en})
            await conn.execute(_NOTE, [*_noted(target, by, action), "refused", refused])
        raise
    return {"version": version, "scope": target.scope, "body": detail["after"]}


async def _write(
    conn: Connection,
    target: Target,
    by: By,
    body: dict[str, Any] | None,
    detail: dict[str, Any],
) -> int:
    """Add the next version, and tell the audit's ``detail`` of it; return its number."""
    rules = await read_rulebook(conn)
    beneath = await _beneath(conn, rules, target)
    seen = rules.newest(target.kind, target.rule_id)
    if by.seen is not None and by.seen != seen:
        raise await _overtaken(conn, target, seen)
    undoes = None
    if body is None:
        undoes, body = await _before(conn, target)
    before = dict(rules.body(target.kind, target.rule_id, target.scope))
    detail |= {"before": before, "after": body, "version": seen + 1}
    if doubt := doubt_rule(target.kind, target.rule_id, body, beneath):
        raise RefusedError(doubt)
    facts: dict[str, Any] = {
        "kind": target.kind,
        "rule_id": target.rule_id,
        "scope": target.scope,
        "version": seen + 1,
        "body": Jsonb(body),
        "at": by.at,
        "author": by.actor,
        "reason": by.reason,
        "undoes": undoes,
        "backtest_ref": by.backtest_ref,
    }
    await conn.execute(_ADD, facts)
    return seen + 1


def _noted(target: Target, by: By, action: str) -> tuple[Any, ...]:
    return (by.at, by.actor, action, target.name)


async def _beneath(conn: Connection, rules: Rulebook, target: Target) -> dict[str, Origin]:
    """Return what holds in a scope without what it says itself.

    Raises:
        NotFoundError: The rule, the device or the grid cell does not exist.
        RefusedError: There is no such scope.
    """
    _check_rule(target.kind, target.rule_id)
    form, _, name = target.scope.partition(":")
    ladders: Mapping[str, Any] = {}
    device = Device(0, "", target.kind)
    match form:
        case "kind" if not name:
            pass
        case "class" if name.isdecimal() and len(name) == 4:  # noqa: PLR2004 - CJ/T 214
            device = Device(0, "", target.kind, component_code=f"000000{name}000000")
        case "grid" if name:
            if await (await conn.execute(_GRID_CELL, [name])).fetchone() is None:
                raise NotFoundError(Text(f"没有单元网格 {name}", f"there is no grid cell {name!r}"))
            device = Device(0, "", target.kind, grid_code=name)
        case "device" if name:
            device = await read_device(conn, name)
            if device.kind != target.kind:
                raise NotFoundError(
                    Text(
                        f"{name} 的类型是 {device.kind}，不是 {target.kind}",
                        f"{name} is no {target.kind} but a {device.kind}",
                    )
                )
            ladders = device.limits or {}
        case _:
            raise RefusedError(
                Text(
                    f"没有范围 {target.scope!r}，应为 kind、class:0102、grid:… 或 device:…",
                    f"there is no scope {target.scope!r}; it is kind, class:0102, grid:… or"
                    " device:…",
                )
            )
    return rules.without(target.scope).origins(target.rule_id, device, ladders)


def _check_rule(kind: str, rule_id: str) -> None:
    if not fields_of(kind, rule_id):
        raise NotFoundError(
            Text(
                f"{kind} 没有规则 {rule_id}",
                f"{kind} has no rule {rule_id!r}; 'cityhub rule list --kind {kind}' shows them",
            )
        )


async def _before(conn: Connection, target: Target) -> tuple[int, dict[str, Any]]:
    """Return the newest version of a scope, and what the scope said before it."""
    facts = {"kind": target.kind, "rule_id": target.rule_id, "scope": target.scope, "limit": 2}
    async with conn.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(_HISTORY, facts)).fetchall()
    if not rows:
        raise ConflictError(
            Text("此范围内的规则未曾改动，无可撤销", "nothing was changed in this scope")
        )
    return int(rows[0]["version"]), rows[1]["body"] if len(rows) > 1 else {}


async def _overtaken(conn: Connection, target: Target, version: int) -> ConflictError:
    rows = await read_history(conn, target.kind, target.rule_id, limit=1)
    if not rows:
        return ConflictError(
            Text("规则的版本是 1（出厂值）", "the rule is at version 1, as shipped")
        )
    by, at = rows[0]["author"], rows[0]["valid_from"]
    return ConflictError(
        Text(f"{by}已先行修改规则（第 {version} 版）", f"{by} was first: version {version}"),
        by=by,
        at=at,
    )
