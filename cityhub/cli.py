"""The command line. What a command needs is loaded when it runs, so that ``--help`` is instant.

Exit codes: 0 done, 1 it could not be done, 2 the command or a setting is wrong. What went wrong is
one plain sentence on stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cityhub.commands import (
    Run,
    backtest,
    bench,
    bulletin,
    care,
    city,
    desk,
    device,
    quarantine,
    receiver,
    recording,
    roles,
    rule,
    simulate,
    train,
    up,
)

_EXAMPLES: Final = """\
examples:
  cityhub up --demo                        a simulated city on this machine
  cityhub up --check                       prove that a theft becomes a work order, then stop
  cityhub device add MH-0001 --kind manhole_cover
  cityhub import devices devices.csv --dry-run
  cityhub simulate start cover_stolen      make something happen in the demo city
  cityhub ingest                           one role alone, as in production

Settings come from a TOML file (--config, see cityhub.example.toml) and from the environment,
such as CITYHUB_DATABASE_URL and CITYHUB_BROKER_URL. 'cityhub COMMAND --help' tells more.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output went away; nobody is left to tell
        return 1


def _run(arguments: argparse.Namespace) -> int:
    from core.errors import CityhubError, ConfigError, StoreUnavailableError
    from core.settings import load_settings

    run: Run = arguments.run
    try:
        return run(load_settings(arguments.config), arguments) or 0
    except ConfigError as error:
        print(f"cityhub: {error}", file=sys.stderr)
        return 2
    except StoreUnavailableError as error:
        words = " ".join(str(error).split())
        print(f"cityhub: the database does not answer: {words}", file=sys.stderr)
        return 1
    except CityhubError as error:
        print(f"cityhub: {error}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="cityhub",
        description="The sensor hub of a city: no acknowledged reading is lost, no alarm storm,"
        " every filed alarm ends in a verified case.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, a TOML file")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    subjects = (
        up,
        roles,
        care,
        device,
        city,
        desk,
        rule,
        bulletin,
        simulate,
        quarantine,
        receiver,
        recording,
        train,
        bench,
        backtest,
    )
    for subject in subjects:
        subject.add(commands)
    return parser


class _Version(argparse.Action):
    def __call__(self, *_: object) -> None:
        """Print the version and exit."""
        from importlib.metadata import version

        print(f"cityhub {version('cityhub')}")
        sys.exit(0)
