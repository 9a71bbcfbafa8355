"""Markup that cannot be broken out of, words in both languages, lines with gaps."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from api.lite import words
from api.lite.level import mark
from api.lite.markup import Html, join, name, tag
from api.lite.spark import sparkline
from core.model import Text

NOON = datetime(2026, 11, 21, 4, tzinfo=UTC)
HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "'\"><img src=x onerror=alert(1)>",
            "</title><script>",
            "&lt;script&gt;",
            "javascript:alert(1)",
            "\u202egnp.exe",
            "-->",
            "]]>",
        ]
    ),
)


TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def straight(text: str) -> str:
    """Return a text with the characters that turn it made visible."""
    return TURNING.sub("\ufffd", text)


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(HOSTILE, HOSTILE)
def test_no_text_becomes_an_element_or_an_attribute(text: str, value: str) -> None:
    page = Reader(tag("p", text, title=value))
    assert page.elements == [("p", [("title", straight(value))])]
    assert page.text == straight(text)


@given(HOSTILE)
def test_a_name_cannot_turn_its_surroundings(text: str) -> None:
    page = Reader(name(text))
    assert [element for element, _ in page.elements] == ["bdi"]
    assert not TURNING.search(page.text)


def test_only_what_is_made_here_is_markup() -> None:
    assert join("<", Html("<br>"), None, 3) == "&lt;<br>3"
    assert isinstance(Html("<br>") + "x", str)
    assert not isinstance(Html("<br>") + "<x>", Html)


def test_every_word_is_there_in_both_languages() -> None:
    texts: list[Text] = []
    for value in vars(words).values():
        if isinstance(value, Text):
            texts.append(value)
        elif isinstance(value, dict | tuple):
            parts = value.values() if isinstance(value, dict) else value
            texts.extend(part for part in parts if isinstance(part, Text))
    assert len(texts) > 150
    for text in texts:
        assert text.zh
        assert text.en
        assert not re.search("[\u4e00-\u9fff]", text.en)


def test_each_level_has_a_shape_of_its_own() -> None:
    shapes = {re.sub("class=.*?>", "", mark(level)) for level in (1, 2, 3, 4)}
    assert len(shapes) == 4


def test_a_gap_in_the_values_is_a_gap_in_the_line() -> None:
    points = [
        (NOON + timedelta(hours=hour), None if hour in {3, 4} else float(hour)) for hour in range(8)
    ]
    line = sparkline(points, "tilt")
    assert line is not None
    assert line.count("<polyline") == 2
    assert sparkline(points[:1], "tilt") is None
    assert sparkline([(NOON, None), (NOON, None)], "tilt") is None
    assert sparkline([(NOON, 1.0), (NOON, 1.0)], "flat, at one time") is not None
