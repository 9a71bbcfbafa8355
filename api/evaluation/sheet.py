"""Evaluation and alarm health as sheets: CSV (RFC 4180) with a byte-order mark."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from api.evaluation.bulletin import Bulletin, Evaluation
from api.evaluation.health import AlarmHealth

_HEAD: Final = (
    "分类 cut", "编码 code", "名称 name (zh)", "名称 name (en)", "指标 indicator", "指标名 (zh)",
    "指标名 (en)", "分子 numerator", "分母 denominator", "值 value", "单位 unit",
    "公式 formula (zh)", "公式 formula (en)",
)  # fmt: skip
_HEALTH_HEAD: Final = (
    "指标 measure", "指标名 (zh)", "指标名 (en)", "值 value", "单位 unit", "目标 target",
    "达标 met",
)  # fmt: skip
_MET: Final = {True: "yes", False: "no", None: ""}

Cell = str | float | int | None


def evaluation_csv(evaluations: Iterable[Evaluation]) -> str:
    """Return a line for each indicator of each row, its formula beside it."""
    return _write(_HEAD, (line for each in evaluations for line in _lines(each)))


def bulletin_csv(bulletin: Bulletin) -> str:
    """Return all cuts of a month as one sheet."""
    return evaluation_csv(
        [
            bulletin.city,
            bulletin.by_dept,
            bulletin.by_class,
            bulletin.by_grid,
            bulletin.by_source,
            bulletin.by_shift,
        ]
    )


def health_csv(health: AlarmHealth) -> str:
    """Return a line for each measure of alarm health."""
    return _write(
        _HEALTH_HEAD,
        (
            [m.code, m.label.zh, m.label.en, m.value, m.unit, m.target_text.en, _MET[m.ok]]
            for m in health.measures
        ),
    )


def _lines(evaluation: Evaluation) -> Iterable[Sequence[Cell]]:
    for line in evaluation.lines:
        name = [evaluation.by, line.key, line.label.zh, line.label.en]
        yield [*name, "score", "评价得分", "Score", None, None, line.score, "0-100", "", ""]
        for f in line.figures:
            yield [
                *name, f.code, f.label.zh, f.label.en, f.numerator, f.denominator, f.value, f.unit,
                f.formula.zh, f.formula.en,
            ]  # fmt: skip


def _write(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([_safe(cell) for cell in row])
    return "\ufeff" + text.getvalue()


def _safe(cell: Cell) -> Cell:
    """Return a cell that a spreadsheet does not run: names come from outside."""
    if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{cell}"
    return cell
