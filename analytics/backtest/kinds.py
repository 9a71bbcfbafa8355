"""``cityhub backtest --kind``: files of one kind through its stages, a line an episode.

A folder is judged file by file, each as if the hub had just been set up, since two files may name
their devices alike; only where a file is a device, as daily GNSS is, are they judged together.
Where OUT is a folder there is a file of findings for each; else the lines of all go into one.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import Any, Final

from analytics.backtest.drive import replay
from analytics.backtest.episodes import tell
from analytics.backtest.files import Readings, batches, form_of, read
from analytics.backtest.silences import silences
from analytics.stages import build_stages
from core.batch import Finding
from core.errors import ConfigError
from devices import KINDS
from devices.kind import DeviceKind
from devices.water_level import WaterLevel

_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Account:
    """What a back-test read and told.

    Attributes:
        rows: Rows judged.
        devices: Of so many devices.
        bad: Rows that could not be read.
        lines: Episodes told.
    """

    rows: int
    devices: int
    bad: int
    lines: int


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def run_kind(
    kind_name: str, path: Path, out: Path, *, say: Callable[[str], None] = _say
) -> Account:
    """Judge a file, or all CSV files of a folder, and write the episodes.

    Args:
        kind_name: Name of the kind.
        path: A file or a folder.
        out: JSON lines, or a folder for as many files; it is made where it is missing and ``path``
            is a folder and ``out`` has no suffix.
        say: Where rows that cannot be read are told of.

    Raises:
        ConfigError: There is no such kind, no file, or one with another header.
    """
    kind = KINDS.get(kind_name)
    if kind is None:
        raise ConfigError(f"there is no kind {kind_name!r}; there are: {', '.join(KINDS)}")
    groups = group_files(kind, path)
    many = path.is_dir() and (out.is_dir() or not out.suffix)
    if many:
        out.mkdir(parents=True, exist_ok=True)
    accounts = []
    written: list[str] = []
    (out if many else out.parent).mkdir(parents=True, exist_ok=True)
    for group in groups:
        readings = read(kind, group)
        _report(readings, say)
        lines = list(episodes(kind, readings))
        if many and len(group) == 1:
            _write(out / f"{group[0].stem}.jsonl", lines)
        elif many:
            for file in group:
                _write(out / f"{file.stem}.jsonl", [e for e in lines if e["device"] == file.stem])
        else:
            written += [json.dumps(line, ensure_ascii=False) for line in lines]
        accounts.append(Account(len(readings), len(readings.names), len(readings.bad), len(lines)))
    if not many:
        out.write_text("".join(f"{line}\n" for line in written), "utf-8")
    return Account(
        *(sum(getattr(each, name) for each in accounts) for name in Account.__dataclass_fields__)
    )


def group_files(kind: DeviceKind, path: Path) -> list[list[Path]]:
    """Return the files to be judged together.

    Raises:
        ConfigError: There is none.
    """
    if not path.is_dir():
        return [[path]]
    files = sorted(path.rglob("*.csv"))
    if not files:
        raise ConfigError(f"there is no CSV file in {path}")
    alone = [file for file in files if form_of(kind, file).device]
    together = [file for file in files if file not in set(alone)]
    return [*([together] if together else []), *([file] for file in alone)]


def episodes(
    kind: DeviceKind, readings: Readings, limits: Mapping[int, Mapping[str, Any]] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the lines of what the stages of service find, freshly built."""
    found: Iterator[Finding] = replay(build_stages(kind, limits or {}), batches(kind, readings))
    if any(isinstance(watch, WaterLevel) for watch in kind.watches):
        # a gauge that says nothing is no gauge: its silence is part of the contract
        found = merge(found, silences(kind, readings), key=lambda finding: finding.ts)
    return tell(found, readings.numbered())


def _report(readings: Readings, say: Callable[[str], None]) -> None:
    """Say which rows could not be read: the first ones by line, and how many there are."""
    for path, number, reason in readings.bad[:_NAMED]:
        say(f"{path}, line {number}: left out, {reason}")
    if readings.bad:
        say(f"{len(readings.bad)} rows left out in all")


def _write(out: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    out.write_text(text, "utf-8")
