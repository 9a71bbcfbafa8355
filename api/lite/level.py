"""The mark of a level: colour, shape and word at once, hollow once somebody has acknowledged."""

from typing import Final

from api.lite.markup import Html, tag

_SHAPES: Final = {
    4: tag("rect", x=2.5, y=2.5, width=11, height=11),
    3: tag("path", d="M8 1.2 14.8 8 8 14.8 1.2 8Z"),
    2: tag("path", d="M8 1.8 15 14H1Z"),
    1: tag("circle", cx=8, cy=8, r=6),
}
_NAMES: Final = {4: "red", 3: "orange", 2: "yellow", 1: "blue"}


def mark(severity: int, *, hollow: bool = False) -> Html:
    """Return the mark of a level: red square, orange diamond, yellow triangle, blue circle."""
    return tag(
        "svg",
        _SHAPES[severity],
        viewBox="0 0 16 16",
        width=16,
        height=16,
        aria_hidden="true",
        class_=f"mark {_NAMES[severity]}{' hollow' if hollow else ''}",
    )


def badge(severity: int, word: str, *, hollow: bool = False) -> Html:
    """Return the mark with its word."""
    return tag(
        "span", mark(severity, hollow=hollow), tag("span", word), class_=f"level {_NAMES[severity]}"
    )
