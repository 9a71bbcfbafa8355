"""What all actions share: who acts, acting once, the answer, and a line of audit for a refusal."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.actions import Actions, Outcome
from api.auth import Identity, address_of
from api.deps import Hub, Key, Parts, Version
from api.idempotency import once
from api.policy import Caller
from api.problems import MEDIA_TYPE
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


@dataclass(frozen=True, slots=True)
class Deed:
    """One request to act.

    Attributes:
        request: What was asked for.
        hub: The hub's parts.
        caller: Who asked.
        version: The version the caller saw.
        key: The caller's Idempotency-Key.
    """

    request: Request
    hub: Parts
    caller: Identity
    version: int | None
    key: str | None

    @property
    def actions(self) -> Actions:
        """What staff can do."""
        return self.hub.actions

    def actor(self, body: By | None) -> str:
        """Return who acts: whoever logged in by name, else whom the request names."""
        if self.caller.via == "session" or body is None or body.actor is None:
            return self.caller.name
        return body.actor

    async def answer(self, act: Callable[[], Awaitable[Outcome]]) -> JSONResponse:
        """Act once, and answer."""

        async def acting() -> dict[str, Any]:
            outcome = await attempt(self.hub, self.request, self.caller, act())
            answer: dict[str, Any] = {"version": outcome.version, "event_id": outcome.event_id}
            if (case_no := getattr(outcome, "case_no", None)) is not None:
                answer["case_no"] = case_no
            return answer

        hub = self.hub
        answer = await once(self.request, self.key, acting, pool=hub.pool, clock=hub.clock)
        headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
        if answer.status == 200:  # noqa: PLR2004
            headers["ETag"] = f'"{answer.body["version"]}"'
            return JSONResponse(dict(answer.body), headers=headers)
        return JSONResponse(
            dict(answer.body), answer.status, headers=headers, media_type=MEDIA_TYPE
        )


def _deed(request: Request, hub: Hub, caller: Caller, version: Version, key: Key = None) -> Deed:
    return Deed(request, hub, caller, version, key)


Doing = Annotated[Deed, Depends(_deed)]
"""What a route that acts is given."""


async def attempt(
    hub: Parts, request: Request, caller: Identity, acting: Awaitable[Outcome]
) -> Outcome:
    """Act; what is refused gets its line of audit here, what is done wrote its own."""
    try:
        return await acting
    except (ConflictError, NotFoundError) as error:
        *_, noun, object_id, action = request.url.path.split("/")
        await audit(
            hub,
            request,
            actor=caller.name,
            action=action,
            object_=noun.removesuffix("s"),
            object_id=object_id,
            outcome="refused",
            detail={"why": str(error)},
        )
        raise


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
