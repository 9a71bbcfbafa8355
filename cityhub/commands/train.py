"""``cityhub train``: class models from stored readings."""

import argparse
import json
from datetime import datetime
from typing import TYPE_CHECKING

from cityhub.commands import Commands, add_command, add_json

if TYPE_CHECKING:
    from core.settings import Settings


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "train",
        _train,
        "train the class model of a kind on stored readings",
        examples="  cityhub train --kind street_lamp --from 2026-06-01 --to 2026-07-01\n"
        "needs the extra: pip install 'cityhub[train]'",
    )
    parser.add_argument("--kind", required=True, metavar="KIND", help="which kind")
    for name, what in (("--from", "first day"), ("--to", "day after the last")):
        parser.add_argument(
            name,
            dest=name.strip("-").replace("from", "begin").replace("to", "end"),
            type=datetime.fromisoformat,
            required=True,
            metavar="DATE",
            help=f"{what}, such as 2026-06-01; by the city's clock",
        )
    parser.add_argument("--trees", type=int, default=100, help="how many trees (100)")
    add_json(parser)


def _train(settings: "Settings", arguments: argparse.Namespace) -> int:
    from dataclasses import asdict
    from zoneinfo import ZoneInfo

    from analytics.training import train
    from cityhub.access import connect
    from core.clock import SystemClock

    zone = ZoneInfo(settings.city.time_zone)
    begin, end = (
        at if at.tzinfo else at.replace(tzinfo=zone) for at in (arguments.begin, arguments.end)
    )
    with connect(settings) as conn:
        trained = train(
            conn,
            arguments.kind,
            begin=begin,
            end=end,
            folder=settings.data_folder / "models",
            now=SystemClock().now(),
            trees=arguments.trees,
        )
    if arguments.json:
        print(json.dumps(asdict(trained) | {"path": str(trained.path)}))
    else:
        print(f"trained on {trained.rows} readings with {trained.library}")
        print(f"{trained.path}")
    return 0
