"""``cityhub backtest``: the stages of service over files or stored readings: what they raise."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cityhub.commands import Commands, add_command, backtest_history

if TYPE_CHECKING:
    from core.settings import Settings

_EXAMPLES: Final = """\
  cityhub backtest --kind manhole_cover covers.csv --out findings.jsonl
  cityhub backtest --kind displacement_point stations/ --out findings.jsonl\
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "backtest",
        _backtest,
        "run the real detectors over readings and tell what they would have raised",
        examples=_EXAMPLES + backtest_history.EXAMPLES,
    )
    command.add_argument(
        "input", type=Path, nargs="?", metavar="IN", help="a CSV file, or a folder of them"
    )
    command.add_argument("--kind", required=True, help="the kind whose readings these are")
    command.add_argument("--out", type=Path, help="JSON lines; a folder: one file for each")
    backtest_history.add_options(command)


def _backtest(settings: "Settings", arguments: argparse.Namespace) -> int:
    from analytics.backtest.kinds import run_kind
    from core.errors import ConfigError

    if arguments.start is not None:
        return backtest_history.run(settings, arguments)
    if arguments.input is None or arguments.out is None:
        raise ConfigError("name a file and --out, or --from and --to for stored readings")
    account = run_kind(arguments.kind, arguments.input, arguments.out)
    print(
        f"{account.rows} rows of {account.devices} devices, {account.bad} left out,"
        f" {account.lines} episodes in {arguments.out}",
        file=sys.stderr,
    )
    return 0
