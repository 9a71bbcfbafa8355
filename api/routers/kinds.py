"""Kinds of device: the thing models that everything else is made from."""

from fastapi import APIRouter

from api.paging import Page
from api.policy import Policy, allow
from api.problems import missing
from api.reads.devices import Kind, show_kind
from core.model import Text
from devices import KINDS

router = APIRouter(prefix="/api/v1/kinds", tags=["devices"])


@router.get("", summary="All kinds of device")
@allow(Policy.STAFF)
async def kinds() -> Page[Kind]:
    """Return each kind with its metrics, events, commands and alarm rules."""
    return Page(items=[show_kind(kind) for kind in KINDS.values()])


@router.get("/{name}", summary="One kind of device")
@allow(Policy.STAFF)
async def kind(name: str) -> Kind:
    """Return one kind."""
    if name not in KINDS:
        raise missing(Text("设备类型", "kind"), name)
    return show_kind(KINDS[name])
