"""What an import did, or would do, for people and for programs."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from core.errors import ImportRefusedError
from core.model import Text
from devices.intake.problems import Problem

_SHOWN: Final = 20


@dataclass(slots=True)
class ImportReport:
    """What an import did, or would do.

    Attributes:
        what: The kind of file.
        path: The file.
        dry_run: Nothing was to be changed.
        encoding: How the file was read; empty: not at all.
        rows: Rows that the file has.
        new: Rows that were not there before. With problems: 0, likewise the next two.
        changed: Rows that were there and say something else now.
        unchanged: Rows that were there so.
        problems: Each thing that is wrong, by line.
        problem_count: How many there are; beyond 100,000 they are only counted.
        notes: What is worth knowing and no problem.
    """

    what: str
    path: Path
    dry_run: bool
    encoding: str = ""
    rows: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    notes: list[Text] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the file can be, or was, imported."""
        return self.problem_count == 0

    def as_json(self) -> dict[str, Any]:
        """Return the report for a program."""
        return {**asdict(self), "path": str(self.path), "ok": self.ok}

    def raise_for_problems(self) -> None:
        """Do nothing if the file is good.

        Raises:
            ImportRefusedError: With the first problems.
        """
        if self.ok:
            return
        shown = "\n".join(f"  {problem}" for problem in self.problems[:_SHOWN])
        rest = self.problem_count - _SHOWN
        more = f"\n  and {rest} more; a dry run lists them all" if rest > 0 else ""
        raise ImportRefusedError(
            f"{self.path} has {self.problem_count} problem(s), nothing was imported:\n{shown}{more}"
        )
