"""``cityhub record`` and ``cityhub replay``: real traffic, kept and played again."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cityhub.commands import Commands, add_command

if TYPE_CHECKING:
    from core.settings import Settings


def add(commands: Commands) -> None:
    """Add the commands."""
    record = add_command(
        commands,
        "record",
        _record,
        "write what goes over the broker to a file, until Ctrl-C",
        examples="  CITYHUB_BROKER_TOOL_URL=mqtt://recorder:…@10.0.0.5 \\\n"
        "      cityhub record 'hub/#' -o monday.rec\n"
        "  cityhub record 'hub/+/telemetry' -o ten-minutes.rec --for 600",
    )
    record.add_argument("topic", help="topic filter, such as 'hub/#'; quote it")
    record.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="appended to if it exists"
    )
    record.add_argument("--for", dest="lasts_s", type=float, metavar="S", help="end after seconds")
    record.add_argument("--count", type=int, metavar="N", help="end after so many messages")
    replay = add_command(
        commands,
        "replay",
        _replay,
        "publish recorded traffic again, over MQTT",
        examples="  cityhub replay monday.rec --speed 10 --shift-to-now\n"
        "  cityhub replay monday.rec --filter 'hub/MH-*/#' --loop --shift-to-now\n"
        "as a source without any broker: CITYHUB_BROKER_URL=replay:///path/monday.rec"
        " cityhub ingest",
    )
    replay.add_argument("file", type=Path, help="a recording")
    replay.add_argument("--speed", type=float, default=1.0, help="recorded seconds a second (1)")
    replay.add_argument(
        "--shift-to-now",
        action="store_true",
        help="move the times inside the payloads, too; else they are history to the hub",
    )
    replay.add_argument("--loop", action="store_true", help="begin again at the end")
    replay.add_argument("--filter", default="#", metavar="TOPIC", help="only these, + # * allowed")
    replay.add_argument(
        "--allow-remote", action="store_true", help="publish to another machine than this one"
    )


def _record(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.recording import record

    count = record(
        settings,
        arguments.topic,
        arguments.output,
        lasts_s=arguments.lasts_s,
        most=arguments.count,
    )
    print(f"{count} messages recorded in {arguments.output}")


def _replay(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.recording import replay

    count = replay(
        settings,
        arguments.file,
        speed=arguments.speed,
        shift=arguments.shift_to_now,
        loop=arguments.loop,
        wanted=arguments.filter,
        allow_remote=arguments.allow_remote,
    )
    print(f"{count} messages published and acknowledged")
