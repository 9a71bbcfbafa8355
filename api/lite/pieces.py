"""What several pages show alike: facts, tables, histories, places, empty lists."""

from collections.abc import Mapping, Sequence

from api.lite import words
from api.lite.frame import Frame
from api.lite.markup import Html, name, tag
from api.store import Row
from core.model import Text

Cell = Html | str | int | None


def facts(frame: Frame, *pairs: tuple[Text, Cell]) -> Html:
    """Return a list of named facts; those that are None or empty are left out."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", frame.say(label)), tag("dd", value))
            for label, value in pairs
            if value is not None and value != ""
        ),
    )


def table(frame: Frame, heads: Sequence[Text | str], rows: Sequence[Sequence[Cell]]) -> Html:
    """Return a table that scrolls within itself where the screen is narrow."""
    titles = [head if isinstance(head, str) else frame.say(head) for head in heads]
    return tag(
        "div",
        tag(
            "table",
            tag("thead", tag("tr", *(tag("th", title, scope="col") for title in titles))),
            tag(
                "tbody",
                *(
                    tag("tr", *(tag("td", "–" if cell is None else cell) for cell in row))
                    for row in rows
                ),
            ),
        ),
        class_="scroll",
        tabindex=0,
    )


def history(frame: Frame, events: Sequence[Row]) -> Html:
    """Return what happened to a thing, oldest first."""
    rows: list[list[Cell]] = [
        [
            frame.time(event["at"]),
            name(event["actor"]),
            _word(frame, words.DONE, event["action"]),
            _note(frame, event),
        ]
        for event in events
    ]
    body = (
        table(frame, [words.TIME, words.WHO, words.WHAT, words.NOTE], rows)
        if rows
        else tag("p", frame.say(words.NOTHING), class_="hint")
    )
    return tag("section", tag("h2", frame.say(words.HISTORY)), body)


def empty(frame: Frame, what: Text, hint: Text | None = None) -> Html:
    """Return what a list says that has nothing to show."""
    return tag(
        "div",
        tag("p", frame.say(what)),
        tag("p", frame.say(hint), class_="hint") if hint else None,
        class_="empty",
    )


def place(row: Mapping[str, object]) -> Html | None:
    """Return where a thing is, in words if there are any."""
    where = str(row.get("address") or row.get("grid_name") or row.get("grid_code") or "")
    return name(where) if where else None


def unit_word(unit: str) -> str:
    """Return how people write a unit.

    >>> unit_word("Cel"), unit_word("mm")
    ('°C', 'mm')
    """
    return words.UNITS.get(unit, unit)


def _note(frame: Frame, event: Row) -> Cell:
    if event["reason"]:
        return name(event["reason"])
    states = [state for state in (event["from_state"], event["to_state"]) if state]
    return " → ".join(_word(frame, words.AXES, state) for state in states)


def _word(frame: Frame, known: Mapping[str, Text], word: str) -> str:
    text = known.get(word)
    return frame.say(text) if text else word
