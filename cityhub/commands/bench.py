"""``cityhub bench``: what the hub costs on this machine, beside others in the same run."""

import argparse
import json
import sys
from pathlib import Path
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
        "the hub beside a C counter, COPY alone and other consumers, drained and live",
    )
    ingest.add_argument("--messages", type=int, default=100_000, help="a round and contestant")
    ingest.add_argument("--devices", type=int, default=2_500, help="how many send them (2500)")
    ingest.add_argument("--rounds", type=int, default=5, help="turns of each contestant (5)")
    ingest.add_argument(
        "--peer",
        action="append",
        default=[],
        choices=["node-red"],
        help="a further contestant; node-red is fetched from npm into the cache folder",
    )
    add_json(ingest)
    alarms = add_command(
        group,
        "alarms",
        _alarms,
        "from finding to feed: how soon, how many a minute, and for how much CPU",
    )
    alarms.add_argument("--seconds", type=float, default=60, help="how long the storm lasts (60)")
    alarms.add_argument("--calm", type=float, default=60, help="how long the calm lasts (60)")
    add_json(alarms)
    analytics = add_command(
        group,
        "analytics",
        _analytics,
        "points a second of the detector of unusual behaviour, and how fast its state is kept",
        examples="  cityhub bench analytics\n  cityhub bench analytics --rounds 41 --json",
    )
    analytics.add_argument("--series", type=int, default=300_000, help="how many (300,000)")
    analytics.add_argument("--batch", type=int, default=50_000, help="readings a batch (50,000)")
    analytics.add_argument("--rounds", type=int, default=15, help="batches of each form (15)")
    add_json(analytics)
    storage = add_command(
        group,
        "storage",
        _storage,
        "write a year of readings, roll them up, and ask: disk, query times and plans",
        examples="  cityhub bench storage\n  cityhub bench storage --rows 100000000 --json",
    )
    storage.add_argument(
        "--rows",
        type=int,
        default=5_000_000,
        help="about how many readings (5,000,000; the goals speak of 100,000,000: 25 GB of disk)",
    )
    storage.add_argument("--devices", type=int, default=100_000, help="of how many (100,000)")
    storage.add_argument("--days", type=int, default=365, help="over how many days (365)")
    storage.add_argument("--rounds", type=int, default=5, help="how often each is asked (5)")
    storage.add_argument(
        "--folder", type=Path, help="keep the history here: a run that was stopped goes on"
    )
    add_json(storage)


def _alarms(_: "Settings", arguments: argparse.Namespace) -> int:
    import asyncio

    from cityhub.bench.alarms import run
    from cityhub.bench.goals import table

    report = asyncio.run(
        run(
            seconds=arguments.seconds,
            calm_s=arguments.calm,
            say=lambda word: print(word, file=sys.stderr),
        )
    )
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return 0
    for name, value in report.items():
        if not isinstance(value, list):
            print(f"{name:32} {value:>12,}")
    for line in table(report["goals"]):
        print(line)
    return 0


def _ingest(settings: "Settings", arguments: argparse.Namespace) -> None:
    import asyncio

    from cityhub.bench.goals import table
    from cityhub.bench.ingest import run

    report = asyncio.run(
        run(
            settings,
            messages=arguments.messages,
            devices=arguments.devices,
            rounds=arguments.rounds,
            say=lambda word: print(word, file=sys.stderr),
            peers=arguments.peer,
        )
    )
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return
    for name, value in report.items():
        if isinstance(value, float):
            print(f"{name:36} {value:>14,.2f}")
    for line in table(report["goals"]):
        print(line)


def _analytics(_: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.bench.analytics import run
    from cityhub.bench.goals import table

    report = run(
        series=arguments.series,
        batch=arguments.batch,
        rounds=arguments.rounds,
        say=lambda word: print(word, file=sys.stderr),
    )
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return
    for name, value in report.items():
        if isinstance(value, int | float):
            print(f"{name:28} {value:>16,.2f}")
    for line in table(report["goals"]):
        print(line)


def _storage(_: "Settings", arguments: argparse.Namespace) -> int:
    import asyncio

    from cityhub.bench.storage import run

    report = asyncio.run(
        run(
            rows=arguments.rows,
            devices=arguments.devices,
            days=arguments.days,
            rounds=arguments.rounds,
            say=lambda word: print(word, file=sys.stderr),
            home=arguments.folder,
        )
    )
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return 0
    print(f"{report['rows']:,} readings of {report['devices']:,} devices in {report['days']} days")
    for answer in report["answers"]:
        said = "met" if answer["met"] else "NOT MET"
        print(
            f"\n{answer['question']}: {answer['median_ms']:,.1f} ms, at most"
            f" {answer['goal_ms']:,} ms: {said} ({answer['rows']:,} rows,"
            f" {answer['cpu_ms']:,.1f} ms of CPU)"
        )
        print("\n".join(f"    {line}" for line in answer["plan"]))
    disk = report["disk"]
    print(
        f"\na message takes {disk['bytes_per_message']} bytes, at most {disk['goal_bytes']};"
        f" {disk['share_of_narrow']:.0%} of narrow rows, at most {disk['goal_share']:.0%}"
    )
    return 0
