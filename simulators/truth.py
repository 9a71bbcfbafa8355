"""Ground truth (真值): what really happened, written where the hub cannot see it.

One JSON object a line: ``truth_id, cause, kind, node, devices, start, end, severity, must,
must_not, note``. A scene is written when it starts, with its planned end, and again when it is
over: of lines with one ``truth_id`` the last is true. Each line is written before the first message
of its scene.
"""

import json
from collections.abc import Mapping
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
    """Return the last line of each cause, by ``truth_id``."""
    lines = (json.loads(line) for line in path.read_text("utf-8").splitlines() if line)
    return {line["truth_id"]: line for line in lines}


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in a truth file")
