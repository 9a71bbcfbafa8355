"""Cells and what they mean: each parser gives a value for the database or says what is wrong."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final

from core.model import Text

Parse = Callable[[str], Any]

_DAMAGED: Final = re.compile(r"[0-9](\.[0-9]+)?[eE]\+?[0-9]+")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_MOST_TEXT: Final = 500
_YES: Final = frozenset({"1", "true", "yes", "y", "是"})
_NO: Final = frozenset({"0", "false", "no", "n", "否"})


class WrongError(Exception):
    """A cell does not say what its column wants."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.text = Text(zh, en)


@dataclass(frozen=True, slots=True)
class Field:
    """A column that a file may have.

    Attributes:
        name: Its name, in files and in the table.
        zh: Its Chinese name, which a file may write instead.
        sql_type: The type of its column.
        parse: Makes the value of a cell that is not empty.
        about: What it says.
        required: No row without it.
        empty: What an empty cell means.
        example: A cell, for the template.
    """

    name: str
    zh: str
    sql_type: str
    parse: Parse
    about: Text
    required: bool = False
    empty: Any = None
    example: str = ""

    def read(self, cell: str) -> Any:
        """Return the value of a cell.

        Raises:
            WrongError: It does not say what this column wants.
        """
        if cell:
            return self.parse(cell)
        if self.required:
            raise WrongError("不能为空", "it must not be empty")
        return self.empty


def storable(cell: str) -> str:
    """Return a cell that the database can keep."""
    if _UNSTORABLE.search(cell):
        raise WrongError(
            "含有无法保存的字符（NUL）", "it has a character that cannot be kept (NUL)"
        )
    return cell


def text(cell: str) -> str:
    """Return a short text."""
    if len(cell) > _MOST_TEXT:
        raise WrongError(
            f"太长：{len(cell)} 个字符，最多 {_MOST_TEXT}",
            f"too long: {len(cell)} characters, at most {_MOST_TEXT}",
        )
    return storable(cell)


def code(pattern: re.Pattern[str], zh: str, en: str) -> Parse:
    """Return a parser of codes; ``zh`` and ``en`` say what one looks like."""

    def parse(cell: str) -> str:
        if pattern.fullmatch(cell):
            return cell
        shown = repr(cell[:40])
        if _DAMAGED.fullmatch(cell):
            raise WrongError(
                f"编码 {shown} 被表格软件变成了数字；请把该列设为文本后重新导出",
                f"a spreadsheet turned the code into the number {shown}; make the column text,"
                " enter it anew and export again",
            )
        raise WrongError(f"{shown} 不是有效编码：{zh}", f"{shown} is no such code: {en}")

    return parse


def number(*, above: float = -math.inf, high: float = math.inf) -> Parse:
    """Return a parser of numbers, truly over ``above`` and up to ``high``."""

    def parse(cell: str) -> float:
        if not _NUMBER.fullmatch(cell):
            raise WrongError(f"{cell[:40]!r} 不是数字", f"{cell[:40]!r} is no number")
        value = float(cell)
        if not above < value <= high:
            raise WrongError(
                f"{cell[:40]} 超出范围：大于 {above:g}，不超过 {high:g}",
                f"{cell[:40]} is out of range: over {above:g}, up to {high:g}",
            )
        return value

    return parse


def boolean(cell: str) -> bool:
    """Return yes or no."""
    word = cell.lower()
    if word not in _YES | _NO:
        raise WrongError(f"{cell[:40]!r} 不是 是/否", f"{cell[:40]!r} is neither yes nor no")
    return word in _YES


def choice(*words: str) -> Parse:
    """Return a parser that takes one of some words."""

    def parse(cell: str) -> str:
        if cell not in words:
            known = ", ".join(words)
            raise WrongError(
                f"{cell[:40]!r} 不在可用值之中：{known}", f"{cell[:40]!r} is none of: {known}"
            )
        return cell

    return parse


def json_object(cell: str) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(cell, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise WrongError(f"不是 JSON：{error}", f"this is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise WrongError("必须是 JSON 对象", "it must be a JSON object")
    return value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def time(zone: tzinfo) -> Parse:
    """Return a parser of times; one without a zone is the city's own."""

    def parse(cell: str) -> datetime:
        try:
            at = datetime.fromisoformat(cell)
        except ValueError as error:
            raise WrongError(
                f"{cell[:40]!r} 不是日期（2026-01-31 或 2026-01-31T08:00+08:00）",
                f"{cell[:40]!r} is no date such as 2026-01-31 or 2026-01-31T08:00+08:00",
            ) from error
        return at if at.tzinfo else at.replace(tzinfo=zone)

    return parse
