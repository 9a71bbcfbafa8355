"""``cityhub bulletin``: a month's evaluation, to read, to publish, to correct."""

import argparse
import sys
from typing import TYPE_CHECKING

from cityhub.commands import Commands, add_command

if TYPE_CHECKING:
    from api.evaluation.bulletin import Bulletin
    from core.settings import Settings

_EXAMPLES = """\
  cityhub bulletin 2026-11                 as published, else as it stands now
  cityhub bulletin 2026-11 --csv > november.csv
  cityhub bulletin 2026-11 --publish --as 王   freeze it; again: add a correction if figures moved
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands, "bulletin", _run, "the monthly bulletin 综合评价月报", examples=_EXAMPLES
    )
    command.add_argument("month", help="such as 2026-11, by the city's calendar")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, for programs")
    form.add_argument("--csv", action="store_true", help="print CSV, for spreadsheets")
    command.add_argument("--publish", action="store_true", help="freeze it, or correct it")
    command.add_argument("--as", dest="actor", help="who publishes (your login here)")


def _run(settings: "Settings", arguments: argparse.Namespace) -> None:
    import asyncio
    import getpass
    from zoneinfo import ZoneInfo

    from api.evaluation.bulletin import publish, read_bulletin
    from api.evaluation.period import read_month
    from api.evaluation.sheet import bulletin_csv
    from api.store import look
    from cityhub.access import database_url
    from core.clock import SystemClock
    from core.db import open_pool

    first = read_month(arguments.month)
    zone = ZoneInfo(settings.city.time_zone)

    async def main() -> "Bulletin":
        now = SystemClock().now()
        async with open_pool(database_url(settings), 1, name="command") as pool:
            if arguments.publish:
                actor = arguments.actor or f"cli:{getpass.getuser()}"
                found, added = await publish(pool, first, actor=actor, now=now, zone=zone)
                if not added:
                    print("nothing has moved since it was published", file=sys.stderr)
                return found
            async with look(pool) as lent:
                return await read_bulletin(lent, first, now=now, zone=zone)

    found = asyncio.run(main())
    if arguments.json:
        print(found.model_dump_json())
    elif arguments.csv:
        sys.stdout.buffer.write(bulletin_csv(found).encode())
    else:
        _show(found)


def _show(bulletin: "Bulletin") -> None:
    (city,) = bulletin.city.lines
    counts = city.counts
    print(f"{bulletin.month} {bulletin.state}")
    print(
        f"reported 上报 {counts.reported}, filed 立案 {counts.filed}, closed 结案 {counts.closed},"
        f" score 得分 {'–' if city.score is None else f'{city.score:g}'}"
    )
    for figure in city.figures:
        value = "–" if figure.value is None else f"{figure.value:.2%}"
        if figure.unit == "s":
            value = "–" if figure.value is None else f"{figure.value / 3600:.2f} h"
        part = f"{figure.numerator}/{figure.denominator}"
        shown = part if figure.numerator is not None else f"n={figure.denominator}"
        print(f"{value:>10}  {shown:>11}  {figure.label.en} {figure.label.zh}")
    for correction in bulletin.corrections:
        print(f"corrected {correction.published_at.isoformat()} by {correction.published_by}:")
        for change in correction.changes:
            print(f"  {change.label.en}: {_part(change.was)} -> {_part(change.now)}")


def _part(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
