"""``cityhub up`` and its check."""

import argparse
from typing import TYPE_CHECKING

from cityhub.commands import Commands, add_command

if TYPE_CHECKING:
    from core.settings import Settings


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "up",
        _up,
        "start everything on this machine and keep it running until Ctrl-C",
        examples="  cityhub up --demo\n  CITYHUB_API_PORT=8081 cityhub up --demo\n"
        "  cityhub up --check",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="with a simulated city and a stand-in for the city-management platform",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="on free ports and a throw-away folder: steal a cover, follow it to the work order"
        " and the feed, print the time of each step, stop",
    )
    # For tests of the check: leave a stage of a reading's way out. See cityhub.hub.STAGES.
    parser.add_argument("--without", action="append", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--patience", type=float, metavar="S", help=argparse.SUPPRESS)


def _up(settings: "Settings", arguments: argparse.Namespace) -> int:
    from cityhub.hub import STAGES
    from core.errors import ConfigError

    if strange := set(arguments.without) - set(STAGES):
        raise ConfigError(f"there is no stage {min(strange)!r}; there are {', '.join(STAGES)}")
    if arguments.check:
        from cityhub.check import STEP_S, check

        return check(arguments.without, step_s=arguments.patience or STEP_S)
    from cityhub.up import up

    return up(settings, demo=arguments.demo, without=arguments.without, config=arguments.config)
