"""Cases as pages: the desk's list, and one case with its stages, forms, orders and history."""

from typing import Final, Literal

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse

from api.deps import Looking
from api.lite import words
from api.lite.alarms import device_name
from api.lite.forms import Form, actor_of_form, field, needed, version_of
from api.lite.frame import Frame, Page
from api.lite.level import badge
from api.lite.markup import Html, join, name, tag
from api.lite.pieces import Cell, empty, facts, history, place, table
from api.policy import Caller, Policy, allow
from api.problems import missing
from api.reads.alarms import alarms_of_case
from api.reads.cases import OPEN_STATES, CaseFilter, list_cases, read_case
from api.reads.city import list_departments
from api.reads.events import events_of
from api.routers.cases import CaseNo
from api.store import Row
from core.model import Text

router = APIRouter(include_in_schema=False)

MOST: Final = 200
_STAGE: Final = {
    "reported": 0, "verify_requested": 0, "accepted": 0, "filed": 1, "dispatched": 2,
    "in_progress": 3, "feedback": 4, "verifying": 4, "closed": 5, "evaluated": 5,
}  # fmt: skip


@router.get("/lite/cases", response_class=HTMLResponse)
@allow(Policy.STAFF)
async def cases_page(
    page: Page, look: Looking, state: Literal["open", "all"] = "open"
) -> HTMLResponse:
    """Show the cases, newest first."""
    states = list(OPEN_STATES) if state == "open" else None
    rows, _ = await list_cases(look, CaseFilter(states), after=None, limit=MOST)
    choices = tag(
        "div",
        *(
            tag(
                "a",
                page.say(text),
                href=page.link(state=value),
                aria_current="true" if value == state else None,
            )
            for value, text in (("open", words.OPEN), ("all", words.ALL))
        ),
        class_="choices",
    )
    return page.respond(
        page.say(words.CASES),
        tag("h1", page.say(words.CASES), class_="unseen"),
        tag("div", choices, class_="filters"),
        tag("ul", *(_row(page, row) for row in rows), class_="rows")
        if rows
        else empty(page, words.NO_CASES, words.NO_CASES_HINT),
        here="cases",
        refresh=True,
    )


@router.get("/lite/cases/{case_no}", response_class=HTMLResponse)
@allow(Policy.STAFF)
async def case_page(page: Page, look: Looking, case_no: CaseNo) -> HTMLResponse:
    """Show one case: where it stands, what can be done, what was sent, what happened."""
    row = await read_case(look, case_no)
    if row is None:
        raise missing(Text("案件", "case"), case_no)
    orders = [("work_order", order["order_no"]) for order in row["work_orders"]]
    events = await events_of(look, ("case", case_no), *orders)
    departments = await list_departments(look) if row["state"] == "filed" else []
    return page.respond(
        f"{page.say(words.CASE)} {case_no}",
        tag(
            "div",
            badge(row["severity"], page.say(row["severity_label"])),
            tag("h1", case_no),
            tag("span", page.say(row["state_label"]), class_="state"),
            class_="title",
        ),
        _stages(page, row),
        tag("p", page.say(row["description"]), class_="why"),
        _facts(page, row),
        tag("h2", page.say(words.ACTIONS)),
        _actions(page, row, departments),
        await _alarms(page, look, case_no),
        _orders(page, row["work_orders"]),
        _deliveries(page, row["deliveries"]),
        history(page, events),
        here="cases",
    )


@router.post("/lite/cases/{case_no}/{action}", response_class=RedirectResponse)
@allow(Policy.STAFF)
async def act_on_case(
    *,
    page: Page,
    caller: Caller,
    form: Form,
    case_no: CaseNo,
    action: Literal["dispatch", "sign", "feedback", "return", "verify"],
) -> RedirectResponse:
    """Carry out what a form asks for, then show the case."""
    actions, version = page.hub.actions, version_of(form)
    actor = actor_of_form(caller, form)
    match action:
        case "dispatch":
            dept = needed(form, "dept", 32)
            act = actions.dispatch(case_no, actor=actor, dept=dept, version=version)
        case "sign":
            act = actions.sign(case_no, actor=actor, version=version)
        case "feedback":
            note = needed(form, "note")
            act = actions.feedback(case_no, actor=actor, note=note, version=version)
        case "return":
            reason = needed(form, "reason")
            act = actions.return_(case_no, actor=actor, reason=reason, version=version)
        case "verify":
            passed, note = form.get("passed") == "yes", needed(form, "note")
            act = actions.verify(case_no, actor=actor, passed=passed, note=note, version=version)
    await act
    return RedirectResponse(f"/lite/cases/{case_no}?said={action}", 303)


def _row(page: Frame, row: Row) -> Html:
    return tag(
        "li",
        badge(row["severity"], page.say(row["severity_label"])),
        tag(
            "div",
            tag("a", row["case_no"], href=f"/lite/cases/{row['case_no']}", class_="what"),
            tag("p", page.say(row["description"])),
            class_="text",
        ),
        tag(
            "div",
            tag("span", name(page.say(row["dept_label"]))) if row["dept_zh"] else None,
            tag("p", place(row)),
            class_="where",
        ),
        tag("div", page.time(row["reported_at"]), _due(page, row), class_="when"),
        tag("div", tag("span", page.say(row["state_label"]), class_="state"), class_="do"),
    )


def _due(page: Frame, row: Row) -> Html | None:
    """Return the deadline of a case that is being handled."""
    if row["feedback_at"] is not None or (deadline := _deadline(page, row)) is None:
        return None
    return tag("p", page.say(words.DUE), " ", deadline)


def _deadline(page: Frame, row: Row) -> Html | None:
    """Return when the case must be handled, and whether that has passed without it."""
    due = row["handle_due_at"]
    if due is None:
        return None
    late = page.now > due and row["feedback_at"] is None
    mark = tag("b", f" {page.say(words.OVERDUE)}", class_="late") if late else None
    return join(page.time(due), mark)


def _stages(page: Frame, row: Row) -> Html | None:
    stage = _STAGE.get(row["state"])
    if stage is None:
        return None
    closed = row["state"] in {"closed", "evaluated"}
    return tag(
        "ol",
        *(
            tag(
                "li",
                page.say(text),
                class_="past" if number < stage or closed else None,
                aria_current="step" if number == stage else None,
            )
            for number, text in enumerate(words.STAGES)
        ),
        class_="stages",
    )


def _facts(page: Frame, row: Row) -> Html:
    return facts(
        page,
        (words.PLACE, place(row)),
        (words.DEPARTMENT, name(page.say(row["dept_label"])) if row["dept_zh"] else None),
        (words.REPORTED, page.time(row["reported_at"])),
        (words.DUE, _deadline(page, row)),
    )


def _actions(page: Frame, row: Row, departments: list[Row]) -> Html:
    """Return the forms for what can be done at this stage."""
    forms = {
        "filed": lambda: [_dispatch(page, row, departments)],
        "dispatched": lambda: [_plain(page, row, "sign", words.SIGN), _return(page, row)],
        "in_progress": lambda: [_feedback(page, row)],
        "feedback": lambda: [_verify(page, row)],
        "verifying": lambda: [_verify(page, row)],
    }.get(row["state"])
    if forms is None:
        return tag("p", page.say(words.NO_ACTIONS), class_="hint")
    return tag("div", *forms(), class_="forms")


def _post(page: Frame, row: Row, action: str, *children: Html | None) -> Html:
    return page.form(
        f"/lite/cases/{row['case_no']}/{action}",
        tag("input", type="hidden", name="version", value=row["version"]),
        *children,
    )


def _plain(page: Frame, row: Row, action: str, label: Text) -> Html:
    return _post(page, row, action, _by(page), tag("button", page.say(label)))


def _by(page: Frame) -> Html | None:
    """Return the field for who acts, where no login says it."""
    if page.hub.gate.wants_login:
        return None
    return field(page, words.ACTOR, "actor", required=False)


def _dispatch(page: Frame, row: Row, departments: list[Row]) -> Html:
    chosen = row["handling_dept"] or row["owner_dept"]
    choice = tag(
        "label",
        tag("span", page.say(words.DISPATCH_TO)),
        tag(
            "select",
            *(
                tag(
                    "option",
                    page.say(department["name"]),
                    value=department["dept_code"],
                    selected=department["dept_code"] == chosen,
                )
                for department in departments
            ),
            name="dept",
            required=True,
        ),
    )
    button = tag("button", page.say(words.DISPATCH))
    return _post(page, row, "dispatch", choice, _by(page), button)


def _return(page: Frame, row: Row) -> Html:
    button = tag("button", page.say(words.RETURN), class_="plain")
    return _post(page, row, "return", field(page, words.REASON, "reason", long=True), button)


def _feedback(page: Frame, row: Row) -> Html:
    note = field(page, words.FEEDBACK_NOTE, "note", long=True)
    button = tag("button", page.say(words.FEEDBACK))
    return _post(page, row, "feedback", note, _by(page), button)


def _verify(page: Frame, row: Row) -> Html:
    buttons = tag(
        "div",
        tag("button", page.say(words.PASSED), name="passed", value="yes"),
        tag("button", page.say(words.FAILED), name="passed", value="no", class_="plain"),
        class_="pair",
    )
    note = field(page, words.VERIFY_NOTE, "note", long=True)
    return _post(page, row, "verify", note, _by(page), buttons)


async def _alarms(page: Frame, look: Looking, case_no: str) -> Html:
    rows: list[list[Cell]] = [
        [
            badge(row["severity"], page.say(row["severity_label"])),
            tag("a", page.say(row["rule_label"]), href=f"/lite/alarms/{row['alarm_id']}"),
            tag("a", device_name(row), href=f"/lite/devices/{row['device_id']}"),
            page.say(row["state_label"]),
            page.time(row["raised_at"]),
        ]
        for row in await alarms_of_case(look, case_no)
    ]
    heads = [words.LEVEL, words.ALARMS, words.DEVICE, words.STATE, words.RAISED]
    return _part(page, words.ALARMS, table(page, heads, rows) if rows else None)


def _orders(page: Frame, orders: list[Row]) -> Html:
    rows: list[list[Cell]] = [
        [
            order["order_no"],
            name(page.say(order["dept_label"])),
            page.say(words.ORDER_STATES[order["state"]]),
            page.time(order["issued_at"]),
            page.time(order["due_at"]),
            name(order["feedback"] or order["return_reason"] or order["instruction"]),
        ]
        for order in orders
    ]
    heads = [words.ORDER, words.DEPARTMENT, words.STATE, words.ISSUED, words.DUE, words.NOTE]
    return _part(page, words.WORK_ORDERS, table(page, heads, rows) if rows else None)


def _deliveries(page: Frame, deliveries: list[Row]) -> Html:
    rows: list[list[Cell]] = [
        [
            join(row["message_type"], " ", tag("span", row["key"], class_="hint")),
            page.say(words.DELIVERY_STATES[row["state"]]),
            row["attempts"],
            page.time(row["delivered_at"]),
            name(row["last_error"] or row["external_id"] or ""),
        ]
        for row in deliveries
    ]
    heads = [words.MESSAGE, words.STATE, words.ATTEMPTS, words.DELIVERED, words.NOTE]
    return _part(page, words.DELIVERIES, table(page, heads, rows) if rows else None)


def _part(page: Frame, title: Text, body: Html | None) -> Html:
    return tag(
        "section",
        tag("h2", page.say(title)),
        body or tag("p", page.say(words.NOTHING), class_="hint"),
    )
