"""Ground truth (真值): what really happened, written where the hub cannot see it.

One JSON object a line: ``truth_id, cause, kind, node, devices, start, end, severity, must,
must_not, note``. A scene is written when it starts, with its planned end, and again when it is
over: of lines with one ``truth_id`` the last is true. Each line is written before the first message
of its scene. A line ``scenario, start, end, expect`` speaks of the run: how long it was, and which
figures of its score it must keep (:mod:`simulators.score`).
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any


class TruthFile:
    """Appends to a file; keeps nothing where there is none.

    Args:
        path: The file, or None.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line."""
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line, ensure_ascii=False, default=_plain) + "\n")


def read_truth(path: Path) -> dict[str, dict[str, Any]]:
    """Return the last line of each cause, by ``truth_id``.

    Raises:
        ValueError: It is no truth file.
    """
    return {line["truth_id"]: line for line in _lines(path) if "truth_id" in line}


def read_scenario(path: Path) -> dict[str, Any]:
    """Return the last line on the run itself, empty where there is none.

    Raises:
        ValueError: It is no truth file.
    """
    told: dict[str, Any] = {}
    for line in _lines(path):
        if "scenario" in line:
            told = line
    return told


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
        if text:
            try:
                line = json.loads(text)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            if not isinstance(line, dict) or not line.keys() & {"truth_id", "scenario"}:
                raise ValueError(f"{path}, line {number}: this is no line of a truth file")
            yield line


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in a truth file")
