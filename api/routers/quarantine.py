"""The quarantine bench (隔离台): groups, a payload beside the model, mappings, taking up again."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from api.deps import Hub
from api.paging import Page
from api.policy import Policy, allow
from api.routers.doing import By, Doing, Sentence
from api.shapes import Instant, Shape, Words

router = APIRouter(prefix="/api/v1/quarantine", tags=["operations"])

Number = Annotated[int, InPath(ge=1, lt=1 << 63)]
Word = Annotated[str, Field(max_length=64)]
_FieldName = Annotated[str, Field(min_length=1, max_length=64)]


class QuarantineGroup(Shape):
    """Open messages of one reason and one maker."""

    code: str
    stage: str
    prefix: str
    """How their device ids begin."""
    kind: str
    """Of the registered devices; empty: nobody knows them."""
    model: str
    """What the devices call themselves in their state messages."""
    firmware: str
    messages: int
    records: int
    """With all repeats."""
    senders: int
    first_at: Instant
    last_at: Instant
    example: int
    """One of them."""


class FieldCheck(Shape):
    """One field of a record beside the thing model."""

    key: str
    sent: str
    wanted: Words | None
    mark: Literal["fine", "warned", "refused"]
    note: Words | None
    closest: str | None
    """The name of the thing model that comes nearest to an unknown key."""


class RecordCheck(Shape):
    """One record of a message beside the thing model."""

    index: int | None
    fields: list[FieldCheck]
    problem: Words | None
    absent: list[str]


class Comparison(Shape):
    """A payload beside the thing model."""

    quarantine_id: int
    topic: str
    kind: str | None
    problem: Words | None
    """Why it cannot be taken apart at all."""
    near: str
    """Where reading ended, marked by ⟦ ⟧."""
    records: list[RecordCheck]


class Preview(Shape):
    """What a record would become."""

    device_id: str
    table: str
    ts: Instant | None
    seq: int | None
    values: dict[str, Any]
    quality: int
    code: str
    """Why it is refused; empty: it is not."""
    problem: Words | None


class Previews(Shape):
    """What a message would become."""

    records: list[Preview]


class NotSettled(Shape):
    """A message to which it could not be done."""

    quarantine_id: int
    why: Words


class Redriven(Shape):
    """What taking up again did, in records."""

    redriven: int
    """Messages."""
    received: int
    stored: int
    duplicate: int
    quarantined: int
    refused: list[NotSettled]
    last: int | None
    """The highest message looked at; give it as ``after`` for the next thousand."""


class Discarded(Shape):
    """What discarding did."""

    discarded: int
    refused: list[NotSettled]
    last: int | None
    """As in ``Redriven``."""


class FieldMapping(BaseModel):
    """How the fields of a record are changed: renamed, then scaled, then shifted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"rename": {"angle": "tilt"}, "scale": {"tilt": 0.1}}]},
    )

    rename: dict[_FieldName, _FieldName] = Field(default_factory=dict)
    scale: dict[_FieldName, float] = Field(default_factory=dict)
    offset: dict[_FieldName, float] = Field(default_factory=dict)


class Trial(BaseModel):
    """A mapping to try."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"mapping": {"scale": {"tilt": 1}}}]}
    )

    mapping: FieldMapping = FieldMapping()


class Choosing(By):
    """Which messages: by number, else all open ones that match what is given."""

    ids: list[Annotated[int, Field(ge=1, lt=1 << 63)]] = Field(default=[], max_length=1000)
    code: Word | None = None
    device: Word | None = None
    prefix: Word | None = None
    kind: Word | None = None
    model: Word | None = None
    firmware: Word | None = None
    after: Annotated[int, Field(ge=0, lt=1 << 63)] = 0

    def chosen(self) -> dict[str, Any]:
        """Return the choice as the bench takes it."""
        named = ("code", "device", "prefix", "kind", "model", "firmware", "after")
        return {"ids": tuple(self.ids), **{name: getattr(self, name) for name in named}}


class Redriving(Choosing):
    """What to take up again, and how its fields are changed."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"code": "wrong_type", "firmware": "2.1", "mapping": {"scale": {"tilt": 1}}}
            ]
        },
    )

    mapping: FieldMapping = FieldMapping()


class Discarding(Choosing):
    """What to discard, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"ids": [42], "reason": "试验设备"}]}
    )

    reason: Sentence


@router.get(
    "/groups", summary="The quarantine by reason and maker", response_model=Page[QuarantineGroup]
)
@allow(Policy.STAFF)
async def groups(
    hub: Hub, limit: Annotated[int, Query(ge=1, le=500, description="The most groups.")] = 100
) -> dict[str, Any]:
    """Return open messages by reason, id prefix, kind, model and firmware, the most first."""
    return {"items": await hub.quarantine.groups(limit=limit), "next": None}


@router.get(
    "/{quarantine_id}/comparison",
    summary="A payload beside the thing model",
    response_model=Comparison,
)
@allow(Policy.STAFF)
async def comparison(hub: Hub, quarantine_id: Number) -> dict[str, Any]:
    """Return each field with what the thing model expects, and mark what differs."""
    return await hub.quarantine.compare(quarantine_id)


@router.post("/{quarantine_id}/try", summary="Try a mapping 试映射", response_model=Previews)
@allow(Policy.STAFF)
async def attempt(
    hub: Hub, quarantine_id: Number, body: Annotated[Trial | None, Body()] = None
) -> dict[str, Any]:
    """Return what a message would become with a mapping; nothing is written."""
    mapping = (body or Trial()).mapping.model_dump()
    return {"records": await hub.quarantine.attempt(quarantine_id, mapping=mapping)}


@router.post("/redrive", summary="Take up again 重新处理", response_model=Redriven)
@allow(Policy.STAFF)
async def redrive(doing: Doing, body: Redriving) -> JSONResponse:
    """Store what can be read of messages now, with their own times, as history."""
    return await doing.answer(
        lambda: doing.hub.quarantine.redrive(
            actor=doing.actor(body), mapping=body.mapping.model_dump(), **body.chosen()
        )
    )


@router.post("/discard", summary="Discard 废弃", response_model=Discarded)
@allow(Policy.STAFF)
async def discard(doing: Doing, body: Discarding) -> JSONResponse:
    """Settle messages as worth nothing; needs a reason."""
    return await doing.answer(
        lambda: doing.hub.quarantine.discard(
            actor=doing.actor(body), reason=body.reason, **body.chosen()
        )
    )
