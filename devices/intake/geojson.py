"""Features of a GeoJSON file (RFC 7946), one after the other, each with its line.

Long files are not loaded whole: a window slides over the text and each feature is decoded at once.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, TextIO

from core.model import Text
from devices.intake.problems import Problems
from devices.intake.rows import Row, Rows

_CHUNK: Final = 1 << 18
_MOST_FEATURE: Final = 1 << 24  # characters of one feature
_DEGREES: Final = ("CRS84", "EPSG::4326", "EPSG:4326", "EPSG::4490", "EPSG:4490")


class _BrokenError(Exception):
    """What is not JSON, or not GeoJSON."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.text = Text(zh, en)


class _Scanner:
    """A window over JSON text that knows its line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._window = ""
        self._at = 0
        self._ended = False
        self._decoder = json.JSONDecoder(parse_constant=_no_number)
        self.line = 1

    def _more(self, size: int = _CHUNK) -> None:
        text = self._stream.read(size)
        self._ended = not text
        self._window = self._window[self._at :] + text
        self._at = 0

    def _pass(self, to: int) -> None:
        self.line += self._window.count("\n", self._at, to)
        self._at = to

    def peek(self) -> str:
        """Return the next character that is no blank, without taking it; empty at the end."""
        while True:
            at = self._at
            while at < len(self._window) and self._window[at] in " \t\r\n\ufeff":
                at += 1
            self._pass(at)
            if at < len(self._window):
                return self._window[at]
            if self._ended:
                return ""
            self._more()

    def take(self, character: str) -> None:
        """Take one character.

        Raises:
            _BrokenError: Another one is there.
        """
        found = self.peek()
        if found != character:
            raise _BrokenError(
                f"不是有效的 GeoJSON：此处应为 {character!r}，却是 {found!r}",
                f"not valid GeoJSON: {character!r} expected here, not {found!r}",
            )
        self._pass(self._at + 1)

    def value(self) -> Any:
        """Take one JSON value.

        Raises:
            _BrokenError: There is none.
        """
        self.peek()
        while True:
            if len(self._window) - self._at < _CHUNK and not self._ended:
                self._more()
                continue  # a value that ends with the window may go on behind it
            try:
                value, end = self._decoder.raw_decode(self._window, self._at)
            except RecursionError as error:
                raise _BrokenError("嵌套过深", "it is nested too deeply") from error
            except ValueError as error:
                known = len(self._window) - self._at
                if self._ended or known > _MOST_FEATURE:
                    raise _BrokenError(
                        f"不是有效的 JSON：{error}", f"not valid JSON: {error}"
                    ) from error
                self._more(known)
                continue
            self._pass(end)
            return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def read_geojson(text: TextIO, problems: Problems) -> Rows:
    """Begin to read a GeoJSON file; its columns are the properties of its first feature."""
    scanner = _Scanner(text)
    rows = _rows(scanner, problems)
    first = next(rows, None)
    if first is None:
        return Rows([], iter(()), geographic=True)

    def each() -> Iterator[Row]:
        yield first
        yield from rows

    return Rows(list(first.cells), each(), geographic=True)


def _rows(scanner: _Scanner, problems: Problems) -> Iterator[Row]:
    try:
        _enter_features(scanner)
        while scanner.peek() != "]":
            line = scanner.line
            row = _row(line, scanner.value(), problems)
            if row is not None:
                yield row
            if scanner.peek() != "]":
                scanner.take(",")
        scanner.take("]")
        while scanner.peek() == ",":  # members behind the features
            scanner.take(",")
            _member(scanner)
        scanner.take("}")
    except _BrokenError as error:
        problems.add(scanner.line, "", error.text)


def _enter_features(scanner: _Scanner) -> None:
    """Go to the first feature."""
    scanner.take("{")
    while scanner.peek() == '"':
        if _member(scanner):
            return
        if scanner.peek() != ",":
            break
        scanner.take(",")
    raise _BrokenError(
        "不是 GeoJSON 的 FeatureCollection", "this is no FeatureCollection of GeoJSON"
    )


def _member(scanner: _Scanner) -> bool:
    """Take a member of the collection; stop inside the array if it is ``features``."""
    name = scanner.value()
    scanner.take(":")
    if name == "features":
        scanner.take("[")
        return True
    value = scanner.value()
    if name == "crs" and not str(value).rstrip("}' ").endswith(_DEGREES):
        raise _BrokenError(
            "坐标系必须是 WGS-84 经纬度（CRS84）；请转换后再导入",
            "the coordinates must be WGS-84 degrees (CRS84); convert them first",
        )
    return False


def _row(line: int, feature: Any, problems: Problems) -> Row | None:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        problems.add(line, "", Text("这不是 Feature", "this is no Feature"))
        return None
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        problems.add(line, "properties", Text("没有属性", "there are no properties"))
        return None
    cells = {name.strip(): _cell(value) for name, value in properties.items()}
    return Row(line, cells, feature.get("geometry"))


def _cell(value: Any) -> str:
    """Return a property as a cell of a CSV file would say it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    return json.dumps(value, ensure_ascii=False)
