"""The quarantine bench as pages: groups and messages, and one message beside the thing model."""

import base64
from collections.abc import Mapping
from typing import Any, Final, Literal

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from api.deps import Looking
from api.lite import words
from api.lite.forms import Form, actor_of_form, field, needed
from api.lite.frame import Frame, Page
from api.lite.markup import Html, join, name, tag
from api.lite.pieces import Cell, empty, facts, table
from api.policy import Caller, Policy, allow
from api.problems import Problem, missing
from api.reads.operations import list_quarantine, read_quarantined
from api.routers.quarantine import Number
from api.store import Row
from core.model import Text

router = APIRouter(include_in_schema=False)

LISTED: Final = 50
_SHOWN_BYTES: Final = 4_096


@router.get("/lite/quarantine", response_class=HTMLResponse)
@allow(Policy.STAFF)
async def quarantine_page(page: Page, look: Looking) -> HTMLResponse:
    """Show what could not be read: by reason and maker, then the newest messages."""
    groups = await page.hub.quarantine.groups(limit=LISTED)
    rows, _ = await list_quarantine(
        look, state="open", code=None, device=None, before=None, limit=LISTED
    )
    if not rows:
        nothing = empty(page, words.NO_QUARANTINE, words.NO_QUARANTINE_HINT)
        return page.respond(page.say(words.QUARANTINE), nothing, here="quarantine", refresh=True)
    return page.respond(
        page.say(words.QUARANTINE),
        tag("h1", page.say(words.QUARANTINE), class_="unseen"),
        tag("h2", page.say(words.BY_MAKER)),
        table(page, words.GROUP_HEADS, [_group(page, group) for group in groups]),
        tag("h2", page.say(words.NEWEST)),
        table(page, words.MESSAGE_HEADS, [_message(page, row) for row in rows]),
        here="quarantine",
        refresh=True,
    )


@router.get("/lite/quarantine/{quarantine_id}", response_class=HTMLResponse)
@allow(Policy.STAFF)
async def message_page(page: Page, look: Looking, quarantine_id: Number) -> HTMLResponse:
    """Show one message beside the thing model, with what can be done."""
    return await _show(page, look, quarantine_id)


@router.post("/lite/quarantine/{quarantine_id}/{action}", response_class=RedirectResponse)
@allow(Policy.STAFF)
async def act_on_message(
    *,
    page: Page,
    look: Looking,
    caller: Caller,
    form: Form,
    quarantine_id: Number,
    action: Literal["try", "redrive", "discard"],
) -> Response:
    """Carry out what a form asks for; a trial shows what it would give."""
    bench, actor = page.hub.quarantine, actor_of_form(caller, form)
    if action == "discard":
        done = await bench.discard(actor=actor, reason=needed(form, "reason"), ids=(quarantine_id,))
    else:
        mapping = _mapping(form)
        if action == "try" or form.get("way") == "try":
            found = await bench.attempt(quarantine_id, mapping=mapping)
            return await _show(page, look, quarantine_id, form=form, trial=found)
        done = await bench.redrive(actor=actor, mapping=mapping, ids=(quarantine_id,))
    if done["refused"]:
        raise Problem(409, "conflict", Text(**done["refused"][0]["why"]))
    return RedirectResponse(f"/lite/quarantine/{quarantine_id}?said={action}", 303)


async def _show(
    page: Frame,
    look: Looking,
    quarantine_id: int,
    *,
    form: Mapping[str, str] | None = None,
    trial: list[dict[str, Any]] | None = None,
) -> HTMLResponse:
    row = await read_quarantined(look, quarantine_id)
    if row is None:
        raise missing(Text("隔离记录", "quarantined payload"), str(quarantine_id))
    beside = await page.hub.quarantine.compare(quarantine_id)
    payload = base64.b64decode(row["payload_base64"])[:_SHOWN_BYTES]
    return page.respond(
        f"{page.say(words.QUARANTINE)} {quarantine_id}",
        tag("div", tag("h1", row["code"]), class_="title"),
        tag("p", page.say(row["detail"]), class_="why"),
        facts(
            page,
            (words.TOPIC, name(row["topic"])),
            (words.TIME, page.time(row["received_at"])),
            (words.REPEATS, row["repeat_count"]),
            (words.STATE, page.say(words.QUARANTINE_STATES[row["state"]])),
            (words.WHO, name(row["settled_by"]) if row["settled_by"] else None),
            (words.NOTE, name(row["settled_reason"]) if row["settled_reason"] else None),
        ),
        tag("pre", payload.decode("utf-8", "backslashreplace")),
        _beside(page, beside),
        _trial(page, trial) if trial is not None else None,
        _forms(page, row, form or {}) if row["state"] == "open" else None,
        here="quarantine",
    )


def _group(page: Frame, group: Row) -> list[Cell]:
    maker = " ".join(filter(None, (group["kind"], group["model"], group["firmware"])))
    return [
        tag("a", group["code"], href=f"/lite/quarantine/{group['example']}"),
        name(group["prefix"]),
        name(maker) if maker else None,
        group["senders"],
        group["records"],
        page.time(group["last_at"]),
    ]


def _message(page: Frame, row: Row) -> list[Cell]:
    return [
        tag("a", row["quarantine_id"], href=f"/lite/quarantine/{row['quarantine_id']}"),
        name(row["topic"]),
        page.say(row["detail"]),
        row["repeat_count"],
        page.time(row["last_at"]),
    ]


def _beside(page: Frame, beside: Row) -> Html:
    parts: list[Html] = [tag("h2", page.say(words.BESIDE_MODEL))]
    if beside["problem"]:
        parts.append(tag("p", page.say(Text(**beside["problem"]))))
        parts.append(tag("pre", beside["near"]))
    for record in beside["records"]:
        if record["index"] is not None:
            parts.append(tag("h3", f"{page.say(words.RECORD)} {record['index']}"))
        if record["problem"]:
            parts.append(tag("p", page.say(Text(**record["problem"]))))
        cells = [_field(page, each) for each in record["fields"]]
        parts.append(table(page, words.FIELD_HEADS, cells))
    return join(*parts)


def _field(page: Frame, each: Row) -> list[Cell]:
    """Return a row of the comparison; what differs says so in words, not by colour alone."""
    verdict = page.say(words.MARKED[each["mark"]])
    note = page.say(Text(**each["note"])) if each["note"] else ""
    closest = f" → {each['closest']}?" if each["closest"] else ""
    differs = each["mark"] != "fine"
    return [
        tag("strong", each["key"]) if differs else name(each["key"]),
        name(each["sent"]),
        page.say(Text(**each["wanted"])) if each["wanted"] else None,
        tag("strong", verdict) if differs else verdict,
        f"{note}{closest}",
    ]


def _trial(page: Frame, found: list[dict[str, Any]]) -> Html:
    cells: list[list[Cell]] = [
        [
            name(each["device_id"]),
            each["table"],
            each["ts"] or None,
            name(page.say(Text(**each["problem"])) if each["problem"] else str(each["values"])),
        ]
        for each in found
    ]
    return join(tag("h2", page.say(words.TRIAL)), table(page, words.TRIAL_HEADS, cells))


def _forms(page: Frame, row: Row, form: Mapping[str, str]) -> Html:
    base = f"/lite/quarantine/{row['quarantine_id']}"
    boxes = [
        tag(
            "label",
            tag("span", page.say(label)),
            tag("input", name=key, value=form.get(key, ""), maxlength=500, placeholder=example),
        )
        for key, label, example in (
            ("rename", words.RENAME, "angle=tilt"),
            ("scale", words.SCALE, "tilt=0.1"),
            ("offset", words.OFFSET, "tilt=-2"),
        )
    ]
    return join(
        tag("h2", page.say(words.ACTIONS)),
        page.form(
            f"{base}/redrive",
            *boxes,
            tag("button", page.say(words.TRY), name="way", value="try", class_="plain"),
            tag("button", page.say(words.REDRIVE), name="way", value="redrive"),
        ),
        page.form(
            f"{base}/discard",
            field(page, words.REASON, "reason"),
            tag("button", page.say(words.DISCARD), class_="plain"),
        ),
    )


def _mapping(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the mapping of a form: ``angle=tilt, batt=volt`` in each field.

    Raises:
        Problem: 422, a field is written otherwise.
    """
    mapping: dict[str, Any] = {}
    for key in ("rename", "scale", "offset"):
        pairs = [pair.partition("=") for pair in form.get(key, "").split(",") if pair.strip()]
        try:
            mapping[key] = {
                one.strip(): other.strip() if key == "rename" else float(other)
                for one, _, other in pairs
            }
        except ValueError as error:
            wrong = Text("请写成 字段=数值。", "Write field=number.")
            raise Problem(422, "invalid", wrong) from error
    return mapping
