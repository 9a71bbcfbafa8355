"""What is sent to the city's platform: the list, dead letters first of all, and another try."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from api.deps import Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.reads.cases import Delivery, list_outbox
from api.routers.doing import Doing
from api.shapes import Shape

router = APIRouter(prefix="/api/v1/outbox", tags=["cases"])


class Resent(Shape):
    """What trying again left behind."""

    event_id: int
    """Its entry in the event log."""


@router.get("", summary="Deliveries to the city's platform", response_model=Page[Delivery])
@allow(Policy.STAFF)
async def outbox(
    look: Looking,
    *,
    state: Literal["queued", "sending", "delivered", "dead"] | None = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return deliveries, newest first; ``state=dead`` lists the dead letters."""
    key = read_token(after, int)
    items, token = await list_outbox(look, state=state, before=key[0] if key else None, limit=limit)
    return {"items": items, "next": token}


@router.post("/{outbox_id}/resend", summary="Send a dead letter again 重发", response_model=Resent)
@allow(Policy.STAFF)
async def resend(doing: Doing, outbox_id: Annotated[int, InPath(ge=1, lt=1 << 63)]) -> JSONResponse:
    """Bring a dead letter back to life, under its old idempotency key."""

    async def act() -> dict[str, Any]:
        return {"event_id": await doing.actions.resend(outbox_id, actor=doing.actor(None))}

    return await doing.answer(act)
