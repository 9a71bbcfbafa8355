"""Care for a hub: bring its tables up to date, and look what is wrong with it."""

import argparse
import json
from typing import TYPE_CHECKING

from cityhub.commands import Commands, add_command, add_json

if TYPE_CHECKING:
    from core.settings import Settings


def add(commands: Commands) -> None:
    """Add the commands."""
    migrate = add_command(
        commands,
        "migrate",
        _migrate,
        "bring the database's tables up to date, and make the log of a NATS that is named (up does"
        " both, too)",
        examples="  CITYHUB_BROKER_URL=nats://… cityhub migrate --replicas 3",
    )
    migrate.add_argument(
        "--replicas", type=int, default=1, metavar="N",
        help="copies of the log in a cluster, 3 for safety (1)",
    )  # fmt: skip
    doctor = add_command(commands, "doctor", _doctor, "look what is wrong, and say what to do")
    add_json(doctor)


def _migrate(settings: "Settings", arguments: argparse.Namespace) -> None:
    import asyncio
    from urllib.parse import urlsplit

    from cityhub.access import connect, database_url
    from core.migrate import migrate
    from core.tables import make_tables
    from devices import KINDS

    url = database_url(settings)
    files = migrate(url)
    with connect(settings) as conn:
        make_tables(
            conn,
            [kind.table for kind in KINDS.values()],
            time_zone=settings.city.time_zone,
        )
    print("\n".join(files) if files else "the tables are up to date")
    broker = settings.broker
    if broker.url and urlsplit(broker.url.get_secret_value()).scheme in {"nats", "tls"}:
        from ingest.sources.log import make_log

        log = broker.url.get_secret_value()
        asyncio.run(make_log(log, replicas=arguments.replicas, ca_file=broker.ca_file))
        print("the log is there, with its durable source")


def _doctor(settings: "Settings", arguments: argparse.Namespace) -> int:
    import asyncio

    from cityhub.doctor import examine

    findings = asyncio.run(examine(settings))
    if arguments.json:
        print(json.dumps([finding.facts() for finding in findings], ensure_ascii=False))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.well else 'BAD '} {finding.what}: {finding.words}")
    return 0 if all(finding.well for finding in findings) else 1
