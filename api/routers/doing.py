"""What all actions share: who acts, acting once, the answer, and a line of audit for a refusal."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.actions import Outcome
from api.auth import Identity, address_of
from api.deps import Parts
from api.idempotency import once
from api.problems import MEDIA_TYPE, as_problem
from api.shapes import Shape
from core.db import transaction
from core.errors import ConflictError, NotFoundError

_AUDIT: Final = """
INSERT INTO hub.audit (at, actor, address, action, object, object_id, outcome, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class By(BaseModel):
    """Who acts, where the login does not say it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"actor": "席位1"}]})

    actor: Name | None = Field(
        default=None, description="Who acts; a person logged in is known already."
    )


class Reasoned(By):
    """An action that needs a reason."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "现场核实无异常"}]}
    )

    reason: Sentence


class Acted(Shape):
    """What an action left behind."""

    version: int
    """The new version of what it changed."""
    event_id: int
    """Its entry in the event log."""


class Filed(Acted):
    """What filing left behind."""

    case_no: str


def actor_of(caller: Identity, body: By | None) -> str:
    """Return who acts: whoever logged in by name, else whom the request names."""
    if caller.via == "session" or body is None or body.actor is None:
        return caller.name
    return body.actor


async def perform(
    hub: Parts,
    request: Request,
    caller: Identity,
    key: str | None,
    act: Callable[[], Awaitable[Outcome]],
) -> JSONResponse:
    """Act once, and answer.

    Args:
        hub: The hub's parts.
        request: What was asked for.
        caller: Who asked.
        key: The caller's Idempotency-Key.
        act: The action.
    """

    async def acting() -> dict[str, Any]:
        try:
            outcome = await act()
        except (ConflictError, NotFoundError) as error:
            await _note_refusal(hub, request, caller, as_problem(error).document())
            raise
        answer: dict[str, Any] = {"version": outcome.version, "event_id": outcome.event_id}
        if (case_no := getattr(outcome, "case_no", None)) is not None:
            answer["case_no"] = case_no
        return answer

    answer = await once(request, key, acting, pool=hub.pool, clock=hub.clock)
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
    if answer.status == 200:  # noqa: PLR2004
        headers["ETag"] = f'"{answer.body["version"]}"'
        return JSONResponse(dict(answer.body), headers=headers)
    return JSONResponse(
        dict(answer.body), answer.status, headers=headers, media_type=MEDIA_TYPE
    )


async def audit(
    hub: Parts,
    request: Request,
    *,
    actor: str,
    action: str,
    object_: str,
    object_id: str,
    outcome: str,
    detail: dict[str, Any] | None = None,
) -> None:
    """Write a line of audit: for logins and refusals; actions that succeed write their own."""
    row = (
        hub.clock.now(), actor, address_of(request), action, object_, object_id, outcome,
        Jsonb(detail or {}),
    )  # fmt: skip
    async with transaction(hub.pool) as conn:
        await conn.execute(_AUDIT, row)


async def _note_refusal(
    hub: Parts, request: Request, caller: Identity, document: dict[str, Any]
) -> None:
    *_, noun, object_id, action = request.url.path.split("/")
    await audit(
        hub,
        request,
        actor=caller.name,
        action=action,
        object_=noun.removesuffix("s"),
        object_id=object_id,
        outcome="refused",
        detail={"why": document["detail"]},
    )
