"""The commands: one module a subject, each with ``add()`` for its arguments and what it runs.

These modules import argparse and no more at their top; a command's own parts load when it runs.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from core.settings import Settings

Run = Callable[["Settings", argparse.Namespace], int | None]
"""What a command runs: with the settings and its arguments, to an exit code, None for 0."""


class Commands(Protocol):
    """What takes further commands; argparse has no public name for it."""

    def add_parser(self, name: str, **more: Any) -> argparse.ArgumentParser:
        """Add a command and return its parser."""


def add_command(
    commands: Commands, name: str, run: Run, summary: str, *, examples: str = "", **more: Any
) -> argparse.ArgumentParser:
    """Add a command and return its parser, for its arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **more,
    )
    parser.set_defaults(run=run)
    return parser


def add_group(commands: Commands, name: str, summary: str, examples: str = "") -> Commands:
    """Add a command that has commands of its own, and return these."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Let a program read what the command prints."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
