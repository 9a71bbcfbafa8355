"""What all actions share: who acts, acting once, and the answer. They write their own audit."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Body, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.actions import Actions, Outcome
from api.auth import Identity
from api.deps import Hub, Key, Parts, Version
from api.idempotency import once
from api.policy import Caller
from api.problems import MEDIA_TYPE
from api.shapes import Shape

_NO_NUL: Final = r"^[^\x00]*$"  # which PostgreSQL cannot keep
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=_NO_NUL)
]
Sentence = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=_NO_NUL)
]


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


MaybeBy = Annotated[By | None, Body()]
"""The body of an action that needs no more than who acts."""


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

    async def do(
        self, act: Callable[..., Awaitable[Outcome]], target: int | str, body: By | None = None
    ) -> JSONResponse:
        """Carry out an action, and answer.

        Args:
            act: One of :attr:`actions`; its arguments have the names of the body's fields.
            target: What it is done to.
            body: What the caller sent.
        """
        wanted = body.model_dump(exclude={"actor"}) if body else {}
        return await self.answer(
            lambda: act(target, actor=self.actor(body), version=self.version, **wanted)
        )

    async def answer(
        self, act: Callable[[], Awaitable[Outcome | Mapping[str, Any]]]
    ) -> JSONResponse:
        """Act once, and answer."""

        async def acting() -> Mapping[str, Any]:
            outcome = await act()
            return outcome if isinstance(outcome, Mapping) else _told(outcome)

        hub = self.hub
        answer = await once(self.request, self.key, acting, pool=hub.pool, clock=hub.clock)
        headers = {"Idempotency-Replayed": "true"} if answer.replayed else {}
        if "version" in answer.body:
            headers["ETag"] = f'"{answer.body["version"]}"'
        fine = answer.status == 200  # noqa: PLR2004
        media_type = None if fine else MEDIA_TYPE
        return JSONResponse(dict(answer.body), answer.status, headers, media_type)


def _told(outcome: Outcome) -> dict[str, Any]:
    told: dict[str, Any] = {"version": outcome.version, "event_id": outcome.event_id}
    for made in ("case_no", "window_id"):
        if (number := getattr(outcome, made, None)) is not None:
            told[made] = number
    return told


def _deed(request: Request, hub: Hub, caller: Caller, version: Version, key: Key = None) -> Deed:
    return Deed(request, hub, caller, version, key)


Doing = Annotated[Deed, Depends(_deed)]
"""What a route that acts is given."""
