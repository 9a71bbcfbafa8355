"""``cityhub bench``: what the hub costs on this machine, beside others in the same run."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from cityhub.commands import Commands, add_command, add_group, add_json

if TYPE_CHECKING:
    from core.settings import Settings


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands,
        "bench",
        "what the hub costs, measured beside others in one run; from a clone",
        "  cityhub bench ingest\n  cityhub bench ingest --rounds 3 --json > report.json",
    )
    ingest = add_command(
        group,
        "ingest",
        _ingest,
        "drain a queued mosquitto session through the hub, a C counter, and COPY alone",
    )
    ingest.add_argument("--messages", type=int, default=100_000, help="a round and contestant")
    ingest.add_argument("--devices", type=int, default=500, help="how many lamps send them (500)")
    ingest.add_argument("--rounds", type=int, default=5, help="turns of each contestant (5)")
    add_json(ingest)


def _ingest(settings: "Settings", arguments: argparse.Namespace) -> None:
    import asyncio

    from cityhub.bench.ingest import run

    report = asyncio.run(
        run(
            settings,
            messages=arguments.messages,
            devices=arguments.devices,
            rounds=arguments.rounds,
            say=lambda word: print(word, file=sys.stderr),
        )
    )
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return
    for name, value in report.items():
        if name.endswith(("_per_s", "_per_msg")) or name.startswith("ratio"):
            print(f"{name:24} {value:>14,.2f}")
