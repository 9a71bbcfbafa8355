"""What is wrong with a file, every single thing, with its line."""

from dataclasses import dataclass
from typing import Final

from core.model import Text

MOST_KEPT: Final = 100_000
"""So many problems are kept with their lines; more are counted, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        line: Line of the file, from 1, where the row begins; 0: the file as a whole.
        column: The column, empty if it is the row.
        text: What is wrong, and what to do.
    """

    line: int
    column: str
    text: Text

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else "file"
        return f"{where}{', ' if self.column else ''}{self.column}: {self.text.en} / {self.text.zh}"


class Problems:
    """Collects problems."""

    def __init__(self) -> None:
        self.kept: list[Problem] = []
        self.count = 0

    def add(self, line: int, column: str, text: Text) -> None:
        """Note a problem."""
        self.count += 1
        if len(self.kept) < MOST_KEPT:
            self.kept.append(Problem(line, column, text))

    def __bool__(self) -> bool:
        return self.count > 0
