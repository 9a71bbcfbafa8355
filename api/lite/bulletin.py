"""The monthly bulletin as a page that prints on A4, in either language."""

from datetime import date
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.deps import Looking
from api.evaluation.bulletin import Bulletin, Correction, Evaluation, read_bulletin
from api.evaluation.figures import Figure, Line
from api.evaluation.health import AlarmHealth, Measure
from api.evaluation.period import read_month
from api.lite import words
from api.lite.frame import Frame, Page
from api.lite.markup import Html, join, name, tag
from api.lite.pieces import Cell, table
from api.policy import Policy, allow
from api.routers.evaluation import Month
from core.model import Text

router = APIRouter(include_in_schema=False)

COMPARED: Final = (
    "handled", "handled_on_time", "closed", "closed_on_time", "overdue", "rework", "returned",
    "recurred",
)  # fmt: skip
"""What rows are compared by; the city's table has all."""


@router.get("/lite/bulletin/{month}", response_class=HTMLResponse)
@allow(Policy.STAFF)
async def bulletin_page(page: Page, look: Looking, month: Month) -> HTMLResponse:
    """Show a month as it was published, with later corrections; else a draft of it."""
    first = read_month(month)
    found = await read_bulletin(look, first, now=page.now, zone=page.zone)
    city = page.hub.settings.city
    title = page.say(words.BULLETIN_OF).format(
        city=page.say(Text(city.name_zh, city.name_en)), month=_month(page, first)
    )
    return page.respond(
        title,
        tag("h1", title),
        _standing(page, found),
        *(_correction(page, each) for each in found.corrections),
        tag("h2", page.say(words.WHOLE_CITY)),
        _city(page, found.city),
        _compared(page, words.BY_DEPARTMENT, found.by_dept),
        _compared(page, words.BY_CLASS, found.by_class),
        _compared(page, words.BY_GRID, found.by_grid),
        _compared(page, words.BY_SOURCE, found.by_source),
        _compared(page, words.BY_SHIFT, found.by_shift),
        _health(page, found.health),
        here="bulletin",
    )


def _month(page: Frame, first: date) -> str:
    return f"{first.year}年{first.month}月" if page.lang == "zh" else f"{first:%B %Y}"


def _standing(page: Frame, bulletin: Bulletin) -> Html:
    sheet = tag(
        "a",
        page.say(words.AS_SHEET),
        href=f"/api/v1/bulletins/{bulletin.month}?format=csv",
        class_="screen",
    )
    if bulletin.published_at is None:
        standing = join(tag("b", page.say(words.DRAFT)), " ", page.say(words.DRAFT_HINT))
    else:
        standing = join(
            page.say(words.PUBLISHED), " ", page.time(bulletin.published_at), " ",
            name(bulletin.published_by or ""),
        )  # fmt: skip
    return tag("p", standing, " ", sheet, class_="hint")


def _city(page: Frame, evaluation: Evaluation) -> Html:
    (line,) = evaluation.lines
    counts = line.counts
    heads = [words.INDICATOR, words.NUMBER, words.OF, words.FIGURE, words.FORMULA]
    rows: list[list[Cell]] = [
        [page.say(figure.label), figure.numerator, figure.denominator, amount(page, figure),
         page.say(figure.formula)]
        for figure in line.figures
    ]  # fmt: skip
    weights = ", ".join(
        f"{page.say(figure.label)} {weight.weight:g}"
        for weight in evaluation.weights
        for figure in line.figures
        if figure.code == weight.code
    )
    summary = page.say(words.COUNTED).format(
        reported=counts.reported, filed=counts.filed, handled=counts.handled,
        closed=counts.closed, alarms=counts.alarms, score=_score(line),
    )  # fmt: skip
    return join(
        tag("p", summary),
        table(page, heads, rows),
        tag("p", page.say(words.WEIGHTS), " ", weights, class_="hint"),
    )


def _score(line: Line) -> str:
    return "–" if line.score is None else f"{line.score:g}"


def _compared(page: Frame, title: Text, evaluation: Evaluation) -> Html | None:
    if not evaluation.lines:
        return None
    shown = {
        figure.code: page.say(figure.label)
        for figure in evaluation.lines[0].figures
        if figure.code in COMPARED
    }
    ranked = sorted(evaluation.lines, key=lambda line: (-(line.score or -1), line.key))
    rows: list[list[Cell]] = [
        [
            name(page.say(line.label)),
            line.counts.filed,
            line.counts.closed,
            *(amount(page, figure) for figure in line.figures if figure.code in COMPARED),
            _score(line),
        ]
        for line in ranked
    ]
    heads: list[Text | str] = [words.NAME, words.FILED, words.CLOSED]
    heads += [*shown.values(), words.SCORE]
    return tag("section", tag("h2", page.say(title)), table(page, heads, rows))


def _health(page: Frame, health: AlarmHealth) -> Html:
    heads = [words.INDICATOR, words.FIGURE, words.TARGET, words.MET]
    rows: list[list[Cell]] = [
        [
            page.say(measure.label),
            amount(page, measure),
            page.say(measure.target_text),
            "" if measure.ok is None else page.say(words.YES if measure.ok else words.NO),
        ]
        for measure in health.measures
    ]
    rows += [
        [
            page.say(each.label),
            "–" if each.share is None else f"{each.share:.1%}",
            f"≈ {each.target:.0%}",
            "",
        ]
        for each in health.priorities
    ]
    actors: list[list[Cell]] = [
        [name(each.device_name or each.device_id), page.say(each.rule_label), each.alarms,
         f"{each.share:.1%}"]
        for each in health.bad_actors
    ]  # fmt: skip
    actor_heads = [words.DEVICE, words.RULE, words.ALARMS, words.SHARE]
    return tag(
        "section",
        tag("h2", page.say(words.HEALTH)),
        tag("p", page.say(words.SEATS).format(seats=health.seats), class_="hint"),
        table(page, heads, rows),
        tag("h2", page.say(words.BAD_ACTORS)) if actors else None,
        table(page, actor_heads, actors) if actors else None,
    )


def _correction(page: Frame, correction: Correction) -> Html:
    rows: list[list[Cell]] = [
        [
            page.say(each.label),
            _fraction(each.was_numerator, each.was_denominator),
            _fraction(each.now_numerator, each.now_denominator),
        ]
        for each in correction.changes
    ]
    return tag(
        "section",
        tag("h2", page.say(words.CORRECTION), " ", page.time(correction.published_at)),
        table(page, [words.INDICATOR, words.WAS, words.IS_NOW], rows),
    )


def _fraction(part: int | None, whole: int) -> str:
    return f"n = {whole}" if part is None else f"{part} / {whole}"


def amount(page: Frame, figure: Figure | Measure) -> str:
    """Return a figure as people write it: percent, a length of time, or a number."""
    if figure.value is None:
        return "–"
    if figure.unit == "share":
        return f"{figure.value:.2%}"
    if figure.unit == "s":
        return page.span(figure.value)
    return f"{figure.value:.2f}".rstrip("0").rstrip(".")
