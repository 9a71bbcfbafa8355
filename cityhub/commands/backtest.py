"""``cityhub backtest``: the stages of service over files, and what they would have raised."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cityhub.commands import Commands, add_command

if TYPE_CHECKING:
    from core.settings import Settings

_EXAMPLES: Final = """\
  cityhub backtest --kind manhole_cover covers.csv --out findings.jsonl
  cityhub backtest --kind displacement_point stations/ --out findings.jsonl"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "backtest",
        _backtest,
        "run the real detectors over files of readings and tell what they would have raised",
        examples=_EXAMPLES,
    )
    command.add_argument("input", type=Path, metavar="IN", help="a CSV file, or a folder of them")
    command.add_argument("--kind", required=True, help="the kind whose readings these are")
    command.add_argument(
        "--out", type=Path, required=True, help="JSON lines; a folder: one file for each"
    )


def _backtest(settings: "Settings", arguments: argparse.Namespace) -> int:
    del settings
    from analytics.backtest.kinds import run_kind

    account = run_kind(arguments.kind, arguments.input, arguments.out)
    print(
        f"{account.rows} rows of {account.devices} devices, {account.bad} left out,"
        f" {account.lines} episodes in {arguments.out}",
        file=sys.stderr,
    )
    return 0
