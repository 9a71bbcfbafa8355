"""Alarms as pages: the list an operator works from, and one alarm with its history."""

from datetime import timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse

from api.deps import Looking
from api.lite import words
from api.lite.forms import Form, actor_of_form, field, minutes_of, needed, version_of
from api.lite.frame import Frame, Page
from api.lite.level import badge, mark
from api.lite.markup import Html, join, name, tag
from api.lite.pieces import empty, facts, history, place, unit_word
from api.policy import Caller, Policy, allow
from api.problems import missing
from api.reads.alarms import AlarmFilter, count_alarms, read_alarm, worst_alarms
from api.reads.events import events_of
from api.routers.alarms import AlarmId
from api.shapes import severity_label
from api.store import Row
from core.model import Text

router = APIRouter(include_in_schema=False)

MOST: Final = 200


@router.get("/lite", response_class=HTMLResponse)
@allow(Policy.STAFF)
async def alarms_page(
    page: Page,
    look: Looking,
    state: Literal["open", "unacked", "all"] = "open",
    level: Annotated[int | None, Query(ge=1, le=4)] = None,
    audience: Literal["city", "maintenance", "system"] | None = None,
) -> HTMLResponse:
    """Show the alarms: unacknowledged first, then the gravest, then the newest."""
    wanted = AlarmFilter(state, [level] if level else None, audience)
    rows = await worst_alarms(look, wanted, limit=MOST)
    counts = await count_alarms(look)
    return page.respond(
        page.say(words.ALARMS),
        tag("h1", page.say(words.OPEN_ALARMS), class_="unseen"),
        _levels(page, counts, level),
        _filters(page, state, audience),
        tag("ul", *(_row(page, row) for row in rows), class_="rows")
        if rows
        else empty(page, words.NO_ALARMS, words.NO_ALARMS_HINT),
        tag("p", page.say(words.SHOWN_FIRST), class_="hint") if len(rows) == MOST else None,
        here="alarms",
        refresh=True,
    )


@router.get("/lite/alarms/{alarm_id}", response_class=HTMLResponse)
@allow(Policy.STAFF)
async def alarm_page(page: Page, look: Looking, alarm_id: AlarmId) -> HTMLResponse:
    """Show one alarm: why it fired, what can be done, what happened to it."""
    row = await read_alarm(look, alarm_id)
    if row is None:
        raise missing(Text("告警", "alarm"), str(alarm_id))
    events = await events_of(look, ("alarm", str(alarm_id)))
    return page.respond(
        page.say(row["rule_label"]),
        tag(
            "div",
            badge(
                row["severity"],
                page.say(row["severity_label"]),
                hollow=row["ack_state"] == "acked",
            ),
            tag("h1", page.say(row["rule_label"])),
            _state(page, row),
            class_="title",
        ),
        tag("p", page.say(row["explain"]), class_="why"),
        _facts(page, row),
        tag("h2", page.say(words.ACTIONS)),
        _actions(page, row),
        history(page, events),
        here="alarms",
    )


@router.post("/lite/alarms/{alarm_id}/{action}", response_class=RedirectResponse)
@allow(Policy.STAFF)
async def act_on_alarm(
    *,
    page: Page,
    caller: Caller,
    form: Form,
    alarm_id: AlarmId,
    action: Literal[
        "acknowledge", "undo-acknowledge", "reset", "file", "shelve", "unshelve", "out-of-service"
    ],
) -> RedirectResponse:
    """Carry out what a form asks for, then show where it was asked."""
    actions, version = page.hub.actions, version_of(form)
    actor = actor_of_form(caller, form)
    match action:
        case "acknowledge":
            act = actions.acknowledge(alarm_id, actor=actor, version=version)
        case "undo-acknowledge":
            act = actions.undo_acknowledge(alarm_id, actor=actor, version=version)
        case "reset":
            reason = needed(form, "reason")
            act = actions.reset_alarm(alarm_id, actor=actor, reason=reason, version=version)
        case "file":
            act = actions.file(alarm_id, actor=actor, version=version)
        case "shelve":
            act = actions.shelve(
                alarm_id,
                actor=actor,
                reason=needed(form, "reason"),
                minutes=minutes_of(form),
                version=version,
            )
        case "unshelve":
            act = actions.unshelve(alarm_id, actor=actor, version=version)
        case "out-of-service":
            act = actions.open_window(
                actor=actor,
                scope="device",
                targets=[needed(form, "device", 64)],
                reason=needed(form, "reason"),
                ends_at=page.hub.clock.now() + timedelta(minutes=minutes_of(form)),
            )
    await act
    back = "/lite" if form.get("back") == "list" else f"/lite/alarms/{alarm_id}"
    return RedirectResponse(f"{back}?said={action}", 303)


def _levels(page: Frame, counts: dict[int, tuple[int, int]], chosen: int | None) -> Html:
    """Return the open alarms by level; each is a filter, and so is the way back to all."""
    return tag(
        "div",
        *(
            tag(
                "a",
                mark(severity, hollow=unacked == 0),
                tag("b", opened),
                tag("span", page.say(severity_label(severity))),
                tag("small", f"{page.say(words.UNACKED_OF)} {unacked}"),
                href=page.link(level=None if chosen == severity else str(severity)),
                aria_current="true" if chosen == severity else None,
            )
            for severity, (opened, unacked) in counts.items()
        ),
        class_="levels",
    )


def _filters(page: Frame, state: str, audience: str | None) -> Html:
    states = (("open", words.OPEN), ("unacked", words.UNACKED), ("all", words.ALL))
    audiences = ((None, words.ALL), ("city", words.CITY), ("maintenance", words.MAINTENANCE),
                 ("system", words.SYSTEM))  # fmt: skip
    return tag(
        "div",
        _choices(page, "state", states, state),
        _choices(page, "audience", audiences, audience),
        class_="filters",
    )


def _choices(
    page: Frame, key: str, choices: tuple[tuple[str | None, Text], ...], chosen: str | None
) -> Html:
    return tag(
        "div",
        *(
            tag(
                "a",
                page.say(text),
                href=page.link(**{key: value}),
                aria_current="true" if value == chosen else None,
            )
            for value, text in choices
        ),
        class_="choices",
    )


def _row(page: Frame, row: Row) -> Html:
    acked = row["ack_state"] == "acked"
    action = page.form(
        f"/lite/alarms/{row['alarm_id']}/acknowledge",
        tag("input", type="hidden", name="version", value=row["version"]),
        tag("input", type="hidden", name="back", value="list"),
        tag("button", page.say(words.ACKNOWLEDGE)),
    )
    return tag(
        "li",
        badge(row["severity"], page.say(row["severity_label"]), hollow=acked),
        tag(
            "div",
            tag(
                "a",
                page.say(row["rule_label"]),
                f" ×{row['repeat_count'] + 1}" if row["repeat_count"] else None,
                href=f"/lite/alarms/{row['alarm_id']}",
                class_="what",
            ),
            tag("p", page.say(row["explain"])),
            class_="text",
        ),
        tag(
            "div",
            tag("a", device_name(row), href=f"/lite/devices/{row['device_id']}"),
            tag("p", place(row)),
            class_="where",
        ),
        tag("div", page.time(row["raised_at"]), tag("p", _state(page, row)), class_="when"),
        tag("div", None if acked else action, _case_link(page, row), class_="do"),
        class_="done" if acked else None,
    )


def device_name(row: Row) -> Html:
    """Return a device's name, or its id where it has none."""
    return name(row["device_name"] or row["device_id"])


def _state(page: Frame, row: Row) -> Html:
    marks = [page.say(text) for key, text in words.MARKS.items() if row[key]]
    return tag("span", " · ".join([page.say(row["state_label"]), *marks]), class_="state")


def _case_link(page: Frame, row: Row) -> Html | None:
    if row["case_no"] is None:
        return None
    return tag(
        "a",
        tag("span", page.say(words.CASE), class_="unseen"),
        row["case_no"],
        href=f"/lite/cases/{row['case_no']}",
        class_="case",
    )


def _facts(page: Frame, row: Row) -> Html:
    unit = unit_word(row["unit"])
    return facts(
        page,
        (
            words.DEVICE,
            join(
                tag("a", device_name(row), href=f"/lite/devices/{row['device_id']}"),
                " ",
                tag("span", row["device_id"], class_="hint") if row["device_name"] else None,
                " ",
                tag("span", page.say(row["device_kind_label"]), class_="hint"),
            ),
        ),
        (words.PLACE, place(row)),
        (words.VALUE, None if row["value"] is None else f"{row['value']:g} {unit}"),
        (words.LIMIT, None if row["threshold"] is None else f"{row['threshold']:g} {unit}"),
        (words.STARTED, page.time(row["started_at"])),
        (words.RAISED, page.time(row["raised_at"])),
        (words.LAST_SEEN, page.time(row["last_seen_at"])),
        (
            words.ACKED_BY,
            join(name(row["acked_by"]), " ", page.time(row["acked_at"]))
            if row["ack_state"] == "acked" and row["acked_by"]
            else None,
        ),
        (words.QUIET, _quiet(page, row)),
        (words.REPEATS, row["repeat_count"] or None),
        (words.CASE, _case_link(page, row)),
    )


def _quiet(page: Frame, row: Row) -> str | None:
    """Return why nobody is told of it, and until when."""
    if row["suppression"] == "none":
        return None
    until = row["suppress_until"]
    reason = row["suppress_reason"] or row["suppressed_by"] or ""
    return f"{reason} {page.say(words.QUIET_UNTIL)} {until:%m-%d %H:%M}Z" if until else reason


def _quieting(page: Frame, row: Row, address: str, version: Html) -> list[Html]:
    """Return the forms that keep it quiet, or end that."""
    is_open = row["condition_state"] != "cleared" or (row["latched"] and row["reset_at"] is None)
    if row["suppression"] == "shelved":
        button = tag("button", page.say(words.UNSHELVE), class_="plain")
        return [page.form(f"{address}/unshelve", version, button)]
    if not is_open or row["suppression"] == "out_of_service":
        return []
    return [
        page.form(
            f"{address}/{action}",
            version,
            tag("input", type="hidden", name="device", value=row["device_id"]),
            field(page, words.REASON, "reason"),
            field(page, words.SHELVE_MINUTES, "minutes"),
            tag("button", page.say(label), class_="plain"),
        )
        for action, label in (("shelve", words.SHELVE), ("out-of-service", words.OUT_OF_SERVICE))
    ]


def _actions(page: Frame, row: Row) -> Html:
    """Return the forms for what can be done now."""
    version = tag("input", type="hidden", name="version", value=row["version"])
    address = f"/lite/alarms/{row['alarm_id']}"
    forms = []
    if row["ack_state"] == "unacked":
        forms.append(
            page.form(f"{address}/acknowledge", version, tag("button", page.say(words.ACKNOWLEDGE)))
        )
    if row["audience"] == "city" and row["case_no"] is None and not row["retroactive"]:
        forms.append(
            page.form(
                f"{address}/file", version, tag("button", page.say(words.FILE), class_="plain")
            )
        )
    if row["latched"] and row["reset_at"] is None and row["condition_state"] == "cleared":
        forms.append(
            page.form(
                f"{address}/reset",
                version,
                field(page, words.REASON, "reason"),
                tag("button", page.say(words.RESET), class_="plain"),
            )
        )
    forms += _quieting(page, row, address, version)
    if not forms:
        return tag("p", page.say(words.NO_ACTIONS), class_="hint")
    return tag("div", *forms, class_="forms")
