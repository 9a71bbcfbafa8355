"""Devices as pages: find one, and see its last readings, signals and alarms."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from api.deps import Looking
from api.lite import words
from api.lite.frame import Frame, Page
from api.lite.level import badge
from api.lite.markup import Html, join, name, tag
from api.lite.pieces import Cell, empty, facts, place, table, unit_word
from api.lite.spark import sparkline
from api.paging import After, read_token
from api.policy import Policy, allow
from api.reads.alarms import AlarmFilter, worst_alarms
from api.reads.devices import DeviceFilter, device_events, list_devices
from api.reads.readings import Span, raw_readings
from api.routers.devices import DeviceId, find_device
from api.store import Row
from devices import KINDS
from devices.kind import DeviceKind, Metric

router = APIRouter(include_in_schema=False)

PAGE: Final = 50
SPARKED: Final = 200
LISTED: Final = 12


@router.get("/lite/devices", response_class=HTMLResponse)
@allow(Policy.STAFF)
async def devices_page(
    page: Page,
    look: Looking,
    kind: Annotated[str, Query(max_length=64)] = "",
    find: Annotated[str, Query(max_length=64)] = "",
    after: After = None,
) -> HTMLResponse:
    """Show the devices by id, a page at a time."""
    key = read_token(after, str)
    wanted = DeviceFilter(kind=kind or None, find=find or None)
    rows, token = await list_devices(look, wanted, after=key[0] if key else "", limit=PAGE)
    cells: list[list[Cell]] = [
        [
            tag("a", row["device_id"], href=f"/lite/devices/{row['device_id']}"),
            name(row["name"]),
            page.say(row["kind_label"]),
            place(row),
            page.time(row["last_contact_at"]) if row["last_contact_at"] else page.say(words.NEVER),
        ]
        for row in rows
    ]
    heads = [words.ID, words.GIVEN_NAME, words.KIND, words.PLACE, words.LAST_CONTACT]
    return page.respond(
        page.say(words.DEVICES),
        tag("h1", page.say(words.DEVICES), class_="unseen"),
        _search(page, kind, find),
        table(page, heads, cells) if rows else empty(page, words.NO_DEVICES, words.NO_DEVICES_HINT),
        tag("p", tag("a", page.say(words.MORE), href=page.link(after=token), class_="more"))
        if token
        else None,
        here="devices",
        refresh=not find,
    )


@router.get("/lite/devices/{device_id}", response_class=HTMLResponse)
@allow(Policy.STAFF)
async def device_page(page: Page, look: Looking, device_id: DeviceId) -> HTMLResponse:
    """Show one device: facts, each metric's last values, readings, signals, alarms."""
    row = await find_device(look, device_id)
    alarms = await worst_alarms(look, AlarmFilter("all", device=device_id), limit=LISTED)
    events = await device_events(look, row, LISTED)
    title = row["name"] or device_id
    return page.respond(
        title,
        tag(
            "div",
            tag("h1", name(title)),
            tag("span", page.say(row["kind_label"]), class_="state"),
            class_="title",
        ),
        _facts(page, row),
        await _readings(page, look, row),
        _alarms(page, alarms),
        _events(page, events),
        here="devices",
        refresh=True,
    )


def _search(page: Frame, kind: str, find: str) -> Html:
    options = [tag("option", page.say(words.ALL), value="")] + [
        tag("option", page.say(known.label), value=known.name, selected=known.name == kind)
        for known in KINDS.values()
    ]
    return tag(
        "form",
        tag(
            "label",
            tag("span", page.say(words.FIND), class_="unseen"),
            tag("input", name="find", value=find, maxlength=64, placeholder=page.say(words.FIND)),
        ),
        tag(
            "label",
            tag("span", page.say(words.KIND), class_="unseen"),
            tag("select", *options, name="kind"),
        ),
        tag("button", page.say(words.SHOW), class_="plain"),
        method="get",
        action="/lite/devices",
        class_="search",
    )


def _facts(page: Frame, row: Row) -> Html:
    return facts(
        page,
        (words.ID, row["device_id"]),
        (words.PLACE, place(row)),
        (words.MASTER, name(row["gateway"] or row["feeder"] or "") if _carried(row) else None),
        (
            words.LAST_CONTACT,
            page.time(row["last_contact_at"]) if row["last_contact_at"] else page.say(words.NEVER),
        ),
    )


def _carried(row: Row) -> bool:
    return bool(row["gateway"] or row["feeder"])


async def _readings(page: Frame, look: Looking, row: Row) -> Html:
    kind = KINDS.get(row["kind"])
    if kind is None:
        return join()
    names = [metric.name for metric in kind.metrics]
    span = Span(row["device_no"], kind, names, None, None)
    rows, _ = await raw_readings(look, span, after=None, limit=SPARKED)
    if not rows:
        return join(tag("h2", page.say(words.READINGS)), empty(page, words.NO_READINGS))
    return join(
        tag("h2", page.say(words.METRICS)),
        tag("div", *(_tile(page, metric, rows) for metric in kind.metrics), class_="tiles"),
        tag("h2", page.say(words.READINGS)),
        _table(page, kind, rows[:LISTED]),
    )


def _tile(page: Frame, metric: Metric, rows: list[Row]) -> Html:
    """Return a metric's last value with its line; newest first in ``rows``."""
    label, unit = page.say(metric.label), unit_word(metric.unit)
    points = [(row["ts"], row["values"][metric.name]) for row in reversed(rows)]
    known = [value for _, value in points if value is not None]
    figure = f"{known[-1]:.{metric.decimals}f}" if known else "–"
    ends = None
    if len(known) > 1:
        low, high = min(known), max(known)
        ends = tag(
            "small",
            f"{page.say(words.LOWEST)} {low:.{metric.decimals}f} · "
            f"{page.say(words.HIGHEST)} {high:.{metric.decimals}f}",
        )
    return tag(
        "figure",
        tag("figcaption", label),
        tag("p", tag("b", figure), " ", tag("span", unit)),
        sparkline(points, label),
        ends,
    )


def _table(page: Frame, kind: DeviceKind, rows: list[Row]) -> Html:
    heads: list[Any] = [words.TIME, words.SEQ]
    heads += [
        f"{page.say(metric.label)} {unit_word(metric.unit)}".strip() for metric in kind.metrics
    ]
    heads.append(words.QUALITY)
    cells: list[list[Cell]] = [
        [
            page.time(row["ts"]),
            row["seq"],
            *(_figure(metric, row["values"][metric.name]) for metric in kind.metrics),
            page.say(words.GOOD) if row["quality"] == 0 else f"0x{row['quality']:04x}",
        ]
        for row in rows
    ]
    return table(page, heads, cells)


def _figure(metric: Metric, value: float | None) -> str | None:
    return None if value is None else f"{value:.{metric.decimals}f}"


def _alarms(page: Frame, rows: list[Row]) -> Html:
    cells: list[list[Cell]] = [
        [
            badge(row["severity"], page.say(row["severity_label"])),
            tag("a", page.say(row["rule_label"]), href=f"/lite/alarms/{row['alarm_id']}"),
            page.say(row["state_label"]),
            page.time(row["raised_at"]),
        ]
        for row in rows
    ]
    heads = [words.LEVEL, words.ALARMS, words.STATE, words.RAISED]
    body = table(page, heads, cells) if rows else tag("p", page.say(words.NOTHING), class_="hint")
    return tag("section", tag("h2", page.say(words.ALARMS)), body)


def _events(page: Frame, rows: list[Row]) -> Html:
    cells: list[list[Cell]] = [
        [
            page.time(row["ts"]),
            page.say(row["label"]),
            {True: page.say(words.STARTS), False: page.say(words.ENDS)}.get(row["active"], ""),
        ]
        for row in rows
    ]
    heads = [words.TIME, words.EVENTS, words.STATE]
    body = table(page, heads, cells) if rows else tag("p", page.say(words.NO_EVENTS), class_="hint")
    return tag("section", tag("h2", page.say(words.EVENTS)), body)
