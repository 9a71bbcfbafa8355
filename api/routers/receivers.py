"""Receivers (接收方), and their callbacks (回调): what they tell us of orders."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from api.deps import Hub, Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.problems import Problem
from api.reads.receivers import Callback, Receiver, list_callbacks, list_receivers
from api.shapes import Shape, Words
from core.model import Text

router = APIRouter(prefix="/api/v1", tags=["cases"])

MAX_CALLBACK: Final = 65_536
"""Bytes of a callback."""

_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["seq", "case_no", "action"],
                    "properties": {
                        "seq": {
                            "type": "integer",
                            "minimum": 1,
                            "description": "Order within the case; a later one overtakes.",
                        },
                        "case_no": {"type": "string"},
                        "action": {"enum": ["accept", "feedback", "return"]},
                        "actor": {"type": "string"},
                        "note": {"type": "string"},
                    },
                }
            }
        },
    }
}


class CallbackAnswer(Shape):
    """What became of a callback."""

    state: Literal["applied", "parked"]
    reason: Words | None
    """Why it is parked."""
    duplicate: bool
    """It had come before; it has one effect."""


@router.get("/receivers", summary="Who is told of cases", response_model=list[Receiver])
@allow(Policy.STAFF)
async def receivers(look: Looking) -> list[dict[str, Any]]:
    """Return the receivers, and how much waits for each."""
    return await list_receivers(look)


@router.get("/callbacks", summary="What receivers told us", response_model=Page[Callback])
@allow(Policy.STAFF)
async def callbacks(
    look: Looking,
    *,
    state: Literal["parked", "applied"] | None = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return callbacks, newest first; ``state=parked`` lists those that contradict their case."""
    key = read_token(after, int)
    items, token = await list_callbacks(
        look, state=state, before=key[0] if key else None, limit=limit
    )
    return {"items": items, "next": token}


@router.post(
    "/callbacks/{receiver}",
    summary="A receiver accepts, reports done, or gives back an order",
    response_model=CallbackAnswer,
    openapi_extra=_BODY,
)
@allow(Policy.PUBLIC)  # the signature says who it is; without one nothing is looked up or kept
async def callback(
    request: Request,
    hub: Hub,
    receiver: Annotated[str, InPath(pattern=r"^[a-z][a-z0-9-]{0,31}$")],
) -> JSONResponse:
    """Take a callback, signed after Standard Webhooks: 200 applied, 202 parked with the reason."""
    if hub.callbacks is None:
        raise Problem(
            503,
            "no_callbacks",
            Text("本服务未启用回调。", "This server runs without callbacks."),
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_CALLBACK:
            raise Problem(413, "too_long", Text("超过64 KiB。", "It is longer than 64 KiB."))
    receipt = await hub.callbacks.receive(receiver, request.headers, bytes(body))
    if not receipt.state:
        reason = receipt.reason or Text("回调无效。", "The callback is not valid.")
        raise Problem(receipt.status, "callback", reason)
    answer = CallbackAnswer.model_validate(
        {
            "state": receipt.state,
            "reason": Words.of(receipt.reason) if receipt.reason else None,
            "duplicate": receipt.duplicate,
        }
    )
    return JSONResponse(answer.model_dump(mode="json"), receipt.status)
