"""The roles, each alone as in production."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cityhub.commands import Commands, add_command

if TYPE_CHECKING:
    from core.settings import Settings


def add(commands: Commands) -> None:
    """Add the commands."""
    ingest = add_command(
        commands,
        "ingest",
        _ingest,
        "run a role: take messages from the broker, judge and store them",
        examples="  CITYHUB_DATABASE_URL=postgresql://… CITYHUB_BROKER_URL=nats://… cityhub ingest",
    )
    # For the check of 'cityhub up': store readings, find nothing.
    ingest.add_argument("--without-detectors", action="store_true", help=argparse.SUPPRESS)
    add_command(commands, "analyse", _analyse, "run a role: look for devices that fell silent")
    add_command(commands, "alert", _alert, "run a role: make alarms and cases of findings")
    add_command(
        commands, "dispatch", _dispatch, "run a role: deliver work orders to the city's platform"
    )
    add_command(commands, "serve", _serve, "run a role: REST, feed and page")
    stand_in = add_command(
        commands, "stand-in", _stand_in, "be a city-management platform, for demos and tests"
    )
    stand_in.add_argument("--port", type=int, default=8090, help="port on loopback (8090)")
    stand_in.add_argument(
        "--journal",
        type=Path,
        default=Path("stand-in.jsonl"),
        metavar="FILE",
        help="where each order it received is written, a line each (stand-in.jsonl)",
    )
    stand_in.add_argument(
        "--hub", metavar="URL", help="the hub's API: a crew signs for orders and reports back there"
    )
    stand_in.add_argument(
        "--simulator", type=Path, metavar="SOCKET", help="where that crew mends simulated devices"
    )


def _ingest(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.roles import ingest

    ingest(settings, detect=not arguments.without_detectors)


def _analyse(settings: "Settings", _: argparse.Namespace) -> None:
    from cityhub.roles import analyse

    analyse(settings)


def _alert(settings: "Settings", _: argparse.Namespace) -> None:
    from cityhub.roles import alert

    alert(settings)


def _dispatch(settings: "Settings", _: argparse.Namespace) -> None:
    from cityhub.roles import dispatch

    dispatch(settings)


def _serve(settings: "Settings", _: argparse.Namespace) -> None:
    from cityhub.roles import serve

    serve(settings)


def _stand_in(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.roles import stand_in

    stand_in(
        settings,
        port=arguments.port,
        journal=arguments.journal,
        hub_url=arguments.hub,
        simulator=arguments.simulator,
    )
