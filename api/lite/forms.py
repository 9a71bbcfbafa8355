"""Forms of ``/lite``: fields, and what must hold before a form is believed."""

import hmac
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import Depends, Request

from api.auth import Identity
from api.lite.frame import FORM_COOKIE, Frame
from api.lite.markup import Html, tag
from api.problems import Problem
from core.model import Text

_INT4: Final = 10
_LONGEST: Final = 2000
_NAME: Final = 64
_MONTH_MINUTES: Final = 30 * 24 * 60


async def _checked(request: Request) -> Mapping[str, str]:
    fields = {
        key: value.strip()
        for key, value in (await request.form()).items()
        if isinstance(value, str)
    }
    held, given = request.cookies.get(FORM_COOKIE, ""), fields.get("form", "")
    if not held or not hmac.compare_digest(held.encode(), given.encode()):
        raise Problem(
            403,
            "form",
            Text("页面已过期，请返回并刷新后再试。",
                 "This form's page is too old; go back, reload it and try again."),
        )  # fmt: skip
    return fields


Form = Annotated[Mapping[str, str], Depends(_checked)]
"""The fields of a form that came from a page of ours: its token is that of the reader's cookie,
which no other site can read or set. The guard has compared the origin before."""


def needed(form: Mapping[str, str], key: str, most: int = _LONGEST) -> str:
    """Return a field that must be filled in.

    Raises:
        Problem: 422, it is empty or too long.
    """
    text = form.get(key, "")
    if not text or len(text) > most or "\0" in text:
        raise Problem(
            422,
            "invalid",
            Text(f"请填写 1 至 {most} 个字。", f"Fill in the field, with at most {most} letters."),
        )
    return text


def minutes_of(form: Mapping[str, str]) -> float:
    """Return the whole minutes of a form, at most thirty days.

    Raises:
        Problem: 422, there are none.
    """
    text = form.get("minutes", "")
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= _MONTH_MINUTES):
        raise Problem(
            422, "invalid", Text("请填写整数分钟。", "Fill in a whole number of minutes.")
        )
    return int(text)


def version_of(form: Mapping[str, str]) -> int | None:
    """Return the version of what the page showed, None if it carries none."""
    text = form.get("version", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _INT4 else None


def actor_of_form(caller: Identity, form: Mapping[str, str]) -> str:
    """Return who acts: whoever logged in, else the name given with the form."""
    if caller.via == "session" or not form.get("actor"):
        return caller.name
    return needed(form, "actor", _NAME)


def field(
    frame: Frame, label: Text, name: str, *, long: bool = False, required: bool = True
) -> Html:
    """Return a labelled field for text."""
    control = (
        tag("textarea", "", name=name, rows=2, maxlength=_LONGEST, required=required)
        if long
        else tag("input", name=name, maxlength=_NAME, required=required, autocomplete="off")
    )
    return tag("label", tag("span", frame.say(label)), control)
