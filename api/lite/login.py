"""Logging in and out on ``/lite``, and its two files."""

from importlib import resources
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.auth import SESSION_COOKIE, SESSION_S, address_of
from api.lite import words
from api.lite.forms import Form, field
from api.lite.frame import Frame, Page
from api.lite.markup import Html, tag
from api.policy import Policy, allow
from core.db import transaction
from core.model import Text

router = APIRouter(include_in_schema=False)

_HOME: Final = "/lite"
_AUDIT: Final = """
INSERT INTO hub.audit (at, actor, address, action, object, object_id, outcome)
VALUES (%s, %s, %s, 'login', 'session', '', %s)
"""
_FILES: Final = {
    name: (resources.files("api.lite") / name).read_bytes() for name in ("style.css", "icon.svg")
}


@router.get("/lite/style.css")
@allow(Policy.PUBLIC)
async def style() -> Response:
    """Return how the pages look."""
    return Response(
        _FILES["style.css"], media_type="text/css", headers={"Cache-Control": "max-age=300"}
    )


@router.get("/lite/icon.svg")
@allow(Policy.PUBLIC)
async def icon() -> Response:
    """Return the picture in the browser's tab."""
    return Response(
        _FILES["icon.svg"], media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"}
    )


@router.get("/lite/login", response_class=HTMLResponse)
@allow(Policy.PUBLIC)
async def login_page(page: Page, to: Annotated[str, Query(max_length=400)] = _HOME) -> Response:
    """Show the form to log in."""
    if not page.hub.gate.wants_login:
        return RedirectResponse(_HOME, 303)
    return _form(page, to)


@router.post("/lite/login", response_class=RedirectResponse)
@allow(Policy.PUBLIC)
async def log_in(request: Request, page: Page, form: Form) -> Response:
    """Log a person in for a shift; a wrong token is counted and written down."""
    gate = page.hub.gate
    if not gate.wants_login:
        return RedirectResponse(_HOME, 303)
    name = "".join(c for c in form.get("actor", "") if c.isprintable())[:64] or "staff"
    fits = gate.admit(address_of(request), form.get("token", ""))
    outcome = "done" if fits else "refused"
    async with transaction(page.hub.pool) as conn:
        await conn.execute(_AUDIT, [page.now, name, address_of(request), outcome])
    if not fits:
        return _form(page, form.get("to", _HOME), words.WRONG_TOKEN)
    response = RedirectResponse(_local(form.get("to", _HOME)), 303)
    response.set_cookie(
        SESSION_COOKIE,
        gate.open_session(name),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/lite/logout", response_class=RedirectResponse)
@allow(Policy.PUBLIC)
async def log_out(page: Page, form: Form) -> Response:
    """Forget the session's cookie."""
    response = RedirectResponse("/lite/login" if page.hub.gate.wants_login else _HOME, 303)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
    return response


def _form(page: Frame, to: str, problem: Text | None = None) -> HTMLResponse:
    token = tag(
        "label",
        tag("span", page.say(words.TOKEN)),
        tag("input", name="token", type="password", required=True, autocomplete="current-password"),
    )
    body: Html = page.form(
        "/lite/login",
        tag("h1", page.say(words.LOGIN)),
        tag("p", page.say(problem), class_="problem", role="alert") if problem else None,
        tag("input", type="hidden", name="to", value=_local(to)),
        field(page, words.NAME_OR_SEAT, "actor"),
        token,
        tag("p", page.say(words.LOGIN_HELP), class_="hint"),
        tag("button", page.say(words.LOGIN)),
        class_="login",
    )
    return page.respond(page.say(words.LOGIN), body, status=401 if problem else 200)


def _local(to: str) -> str:
    """Return an address of ours, whatever was asked for.

    >>> _local("/lite/cases?state=all"), _local("//evil.example"), _local("https://evil.example/lite")
    ('/lite/cases?state=all', '/lite', '/lite')
    """
    parts = urlsplit(to)
    ours = not parts.scheme and not parts.netloc and "\\" not in to and to.isprintable()
    return to if ours and (parts.path == _HOME or parts.path.startswith(f"{_HOME}/")) else _HOME
