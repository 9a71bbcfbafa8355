"""Rules (规则): what holds where, who changed it, and changing it."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field

from api.deps import Hub
from api.paging import Page
from api.policy import Policy, allow
from api.problems import missing
from api.routers.doing import Doing, Name, Reasoned
from api.shapes import Instant, Shape, Words
from core.db import Connection, transaction
from core.model import Text
from devices import KINDS
from devices.registry import VIRTUAL_KINDS, Device
from devices.rule_fields import Field as RuleField
from devices.rule_fields import fields_of
from devices.rule_store import By, Target, put_rule, read_device, read_history, undo_rule
from devices.rulebook import Rulebook
from devices.rules import find_rule, rules_of

router = APIRouter(prefix="/api/v1/rules", tags=["rules"])

Kind = Annotated[str, InPath(max_length=64, examples=["manhole_cover"])]
RuleId = Annotated[str, InPath(max_length=64, examples=["cover_flooded"])]
Scope = Annotated[
    str,
    InPath(
        max_length=80,
        description="`kind`, `class:0102`, `grid:14118200100101` or `device:MH-0001`.",
        examples=["grid:14118200100101"],
    ),
]
OfDevice = Annotated[
    str | None, Query(max_length=64, description="As it holds for this device; else for its kind.")
]


class FieldShape(Shape):
    """One field of a rule."""

    name: str
    about: Words
    value: Any
    """What holds."""
    shipped: Any
    """What it is where nobody changed it."""
    scope: str
    """Where the value comes from: a scope, ``default``, or ``register`` (came with the device)."""
    version: int
    """Of the rule, when the value was set; 1 as shipped."""
    allowed: Words
    unit: str


class Rule(Shape):
    """A rule as it holds."""

    kind: str
    rule_id: str
    label: Words
    version: int
    """The newest version; send it as ``If-Match``."""
    scopes: list[str]
    """Where it was changed."""
    fields: list[FieldShape]


class Change(Shape):
    """One version of a rule."""

    version: int
    scope: str
    body: dict[str, Any]
    """What differs in this scope from this version on."""
    valid_from: Instant
    author: str
    reason: str
    undoes: int | None
    """The version that it took back."""
    backtest_ref: str | None


class Changed(Shape):
    """What a change left behind."""

    version: int
    scope: str
    body: dict[str, Any]


class Changing(Reasoned):
    """What differs of a rule in a scope, all of it; ``{}`` takes all back."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"body": {"orange": 0.4, "hold": 3}, "reason": "汛期"}]},
    )

    body: dict[Annotated[str, Field(max_length=64)], Any] = Field(max_length=64)
    backtest_ref: Name | None = None


@router.get("", summary="Rules as they hold", response_model=Page[Rule])
@allow(Policy.STAFF)
async def rules(
    hub: Hub,
    kind: Annotated[str | None, Query(max_length=64)] = None,
    device: OfDevice = None,
) -> dict[str, Any]:
    """Return rules with each value and where it comes from."""
    async with transaction(hub.pool) as conn:
        whom = await read_device(conn, device) if device else None
        asked = whom.kind if whom else kind
        kinds = [asked] if asked else [*KINDS, *VIRTUAL_KINDS]
        book = await _book(conn)
    items = [_show(book, name, rule.rule_id, whom) for name in kinds for rule in rules_of(name)]
    if not items:
        raise missing(Text("设备类型", "kind"), str(kind))
    return {"items": items, "next": None}


@router.get("/{kind}/{rule_id}", summary="One rule", response_model=Rule)
@allow(Policy.STAFF)
async def rule(hub: Hub, kind: Kind, rule_id: RuleId, device: OfDevice = None) -> dict[str, Any]:
    """Return a rule with each value and where it comes from."""
    if find_rule(kind, rule_id) is None:
        raise missing(Text("规则", "rule"), f"{kind}/{rule_id}")
    async with transaction(hub.pool) as conn:
        whom = await read_device(conn, device) if device else None
        if whom is not None and whom.kind != kind:
            raise missing(Text(f"此类型（{kind}）的设备", f"{kind}"), whom.device_id)
        return _show(await _book(conn), kind, rule_id, whom)


@router.get("/{kind}/{rule_id}/history", summary="Who changed a rule", response_model=Page[Change])
@allow(Policy.STAFF)
async def history(
    hub: Hub,
    kind: Kind,
    rule_id: RuleId,
    scope: Annotated[str | None, Query(max_length=80, description="Only of this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """Return the versions of a rule, newest first."""
    async with transaction(hub.pool) as conn:
        items = await read_history(conn, kind, rule_id, scope=scope, limit=limit)
    return {"items": items, "next": None}


@router.put("/{kind}/{rule_id}/{scope}", summary="Change a rule in a scope", response_model=Changed)
@allow(Policy.STAFF)
async def put(
    doing: Doing, kind: Kind, rule_id: RuleId, scope: Scope, body: Changing
) -> JSONResponse:
    """Say what differs of a rule in a scope; it replaces what the scope said before.

    Detectors and the alarm engine follow within a second and lose nothing of what they know. A
    field or a value that cannot be is refused with 422, naming the field and what it may be.
    """
    target = Target(kind=kind, rule_id=rule_id, scope=scope)
    by = _by(doing, body, doing.hub.clock.now(), body.backtest_ref)
    return await doing.answer(lambda: put_rule(doing.hub.pool, target, body.body, by))


@router.post(
    "/{kind}/{rule_id}/{scope}/undo", summary="Take the last change back", response_model=Changed
)
@allow(Policy.STAFF)
async def undo(
    doing: Doing, kind: Kind, rule_id: RuleId, scope: Scope, body: Reasoned
) -> JSONResponse:
    """Take the last change of a scope back, by a new version; undone twice, it is done again."""
    target = Target(kind=kind, rule_id=rule_id, scope=scope)
    by = _by(doing, body, doing.hub.clock.now())
    return await doing.answer(lambda: undo_rule(doing.hub.pool, target, by))


def _by(doing: Doing, body: Reasoned, at: datetime, backtest_ref: str | None = None) -> By:
    return By(
        actor=doing.actor(body),
        at=at,
        reason=body.reason,
        seen=doing.version,
        backtest_ref=backtest_ref,
    )


async def _book(conn: Connection) -> Rulebook:
    book = Rulebook()
    await book.refresh(conn)
    return book


def _show(book: Rulebook, kind: str, rule_id: str, device: Device | None) -> dict[str, Any]:
    """Return a rule as it holds for a device, or for a kind where no device is named."""
    label = next((each.label for each in rules_of(kind) if each.rule_id == rule_id), None)
    whom = device or Device(0, "", kind)
    origins = book.origins(rule_id, whom, whom.limits)
    fields = fields_of(kind, rule_id)
    return {
        "kind": kind,
        "rule_id": rule_id,
        "label": Words.of(label or Text(rule_id, rule_id)),
        "version": book.newest(kind, rule_id),
        "scopes": sorted(book.scopes(kind, rule_id)),
        "fields": [
            {"value": origin.value, "scope": origin.scope, "version": origin.version}
            | _describe(name, fields[name])
            for name, origin in origins.items()
        ],
    }


def _describe(name: str, field: RuleField) -> dict[str, Any]:
    return {
        "name": name,
        "about": Words.of(field.about),
        "shipped": field.default,
        "allowed": Words.of(field.allowed),
        "unit": field.unit,
    }
