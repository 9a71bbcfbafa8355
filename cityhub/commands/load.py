"""``cityhub simulate load`` and ``score``: load with a ledger of its own, and its judge."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from cityhub.commands import add_command, add_json

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cityhub.commands import Commands
    from core.settings import Settings
    from simulators.courier import Login
    from simulators.feed_witness import FeedWitness
    from simulators.publisher import Publisher
    from simulators.run_ledger import Key

    Sent = Publisher[Key | None]

_ARRIVES_S: Final = 10.0
_LINGERS_S: Final = 5.0
"""How long the witness listens behind the last reading, in seconds."""


def add(group: "Commands") -> None:
    """Add the commands to ``simulate``."""
    load = add_command(group, "load", _load, "plain readings at a steady rate, with a ledger")
    load.add_argument("ledger", type=Path, metavar="FILE", help="every PUBACK, for 'score'")
    load.add_argument("--devices", type=int, default=50, metavar="N", help="how many speak (50)")
    load.add_argument("--kind", default="manhole_cover", help="of which kind (manhole_cover)")
    load.add_argument("--rate", type=float, default=500.0, help="messages a second (500)")
    load.add_argument("--messages", type=int, default=10_000, metavar="N", help="in all (10000)")
    load.add_argument("--thefts", type=int, default=0, metavar="N", help="so many covers open")
    load.add_argument(
        "--feed",
        type=Path,
        metavar="FILE",
        help="event ids that a client of the feed sees meanwhile",
    )
    load.add_argument("--api", metavar="URL", help="the hub's API (from the settings), for --feed")
    score = add_command(
        group,
        "score",
        _score,
        "hold a run's ledger, or what really happened, against the hub; 1 if it falls short",
        examples="  cityhub simulate score run.jsonl             every acknowledged reading\n"
        "  cityhub simulate score --truth truth.jsonl   each cause: recall, precision, delay\n"
        "  cityhub simulate score --truth truth.jsonl --expect recall=0.95 --expect false=3 --json",
    )
    score.add_argument("ledger", type=Path, nargs="?", metavar="FILE", help="what 'load' wrote")
    score.add_argument(
        "--received", type=Path, metavar="FILE", help="journal of the platform's stand-in"
    )
    score.add_argument(
        "--feed", type=Path, metavar="FILE", help="event ids a client of the feed saw, one a line"
    )
    truth = score.add_argument_group("what really happened")
    truth.add_argument("--truth", type=Path, metavar="FILE", help="the simulator's truth file")
    truth.add_argument("--findings", action="store_true", help="judge findings instead of alarms")
    truth.add_argument("--from", dest="start", metavar="TIME", help="ISO 8601; as the file says")
    truth.add_argument("--to", dest="end", metavar="TIME", help="ISO 8601; as the file says")
    truth.add_argument(
        "--allow",
        type=float,
        default=3600.0,
        metavar="S",
        help="seconds after the end of its cause in which an alarm may begin (3600)",
    )
    truth.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="FIGURE=NUMBER",
        help="a bound that must hold, such as recall=0.95 or false=3; else those of the file",
    )
    add_json(score)


def _load(settings: "Settings", arguments: argparse.Namespace) -> None:
    import asyncio
    import time

    from cityhub.access import database_url
    from core.clock import SystemClock
    from core.errors import ConfigError
    from simulators.load import Load, kind_named, run_load

    try:
        kind = kind_named(arguments.kind)
    except ValueError as error:
        raise ConfigError(f"--kind: {error}") from error
    if arguments.thefts and kind.name != "manhole_cover":
        raise ConfigError("--thefts: only manhole covers are opened")
    login = _login(settings)
    devices = [f"LOAD-{kind.id_prefix}-{n:04}" for n in range(arguments.devices)]
    _register(database_url(settings), kind.name, devices)
    clock = SystemClock()
    load = Load(
        kind,
        devices,
        arguments.messages,
        first_seq=clock.micros() // 1000,  # no two runs share a counter
        thefts=arguments.thefts,
        dispatched=bool(arguments.thefts and settings.dispatch.url),
    )
    sending = run_load(load, login, rate=arguments.rate, ledger=arguments.ledger, clock=clock)
    start = time.monotonic()
    sent = asyncio.run(_watched(sending, settings, arguments))
    took = time.monotonic() - start
    print(
        f"{arguments.messages} readings acknowledged in {took:.1f} s"
        f" ({arguments.messages / took:.0f}/s), {sent.resent} of them sent again"
    )


async def _watched(
    sending: "Coroutine[None, None, Sent]", settings: "Settings", arguments: argparse.Namespace
) -> "Sent":
    """Send, with a witness of the feed beside if one is wanted."""
    import asyncio

    from simulators.feed_witness import FeedWitness

    if arguments.feed is None:
        return await sending
    url = arguments.api or f"http://{settings.api.host}:{settings.api.port}"
    token = settings.api.token.get_secret_value() if settings.api.token else None
    witness = FeedWitness(url, arguments.feed, token=token)
    following = asyncio.create_task(witness.follow())
    try:
        return await _seen(sending, witness)
    finally:
        following.cancel()
        await asyncio.wait([following])


async def _seen(sending: "Coroutine[None, None, Sent]", witness: "FeedWitness") -> "Sent":
    """Send once the witness is there, and leave it the time to hear of what came of it.

    Raises:
        StartError: There is no feed.
    """
    import asyncio

    from core.errors import StartError

    try:
        async with asyncio.timeout(_ARRIVES_S):
            await witness.arrived.wait()
    except TimeoutError as error:
        sending.close()
        raise StartError(f"no feed at {witness.url}: name the hub's API with --api") from error
    sent = await sending
    await asyncio.sleep(_LINGERS_S)
    return sent


def _register(url: str, kind: str, devices: list[str]) -> None:
    import psycopg

    from core.errors import ConflictError
    from devices.registry import register

    with psycopg.connect(url, autocommit=True) as conn:
        for device_id in devices:
            try:
                register(conn, device_id, kind)
            except ConflictError:
                continue  # of an earlier run


def _login(settings: "Settings") -> "Login":
    from core.errors import ConfigError
    from simulators.courier import Login

    url = settings.broker.url.get_secret_value() if settings.broker.url is not None else ""
    parts = urlsplit(url)
    if parts.scheme != "mqtt" or not parts.hostname:
        raise ConfigError(
            "simulated devices need CITYHUB_BROKER_URL=mqtt://user:password@host:port"
        )
    return Login(
        parts.hostname,
        parts.port or 1883,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
    )


def _score_truth(settings: "Settings", arguments: argparse.Namespace) -> int:
    from datetime import datetime

    from cityhub.access import connect
    from core.errors import ConfigError
    from simulators.score_hub import score_hub, tabulate, write_json

    def moment(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text).astimezone() if text else None

    try:
        pairs = [text.partition("=") for text in arguments.expect]
        with connect(settings) as conn:
            score = score_hub(
                conn,
                arguments.truth,
                start=moment(arguments.start),
                end=moment(arguments.end),
                of_findings=arguments.findings,
                allowed_s=arguments.allow,
                bounds={name: float(number) for name, _, number in pairs},
            )
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error
    print(write_json(score) if arguments.json else tabulate(score))
    return 1 if score.broken() else 0


def _score(settings: "Settings", arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    import psycopg

    from cityhub.access import database_url
    from core.errors import ConfigError
    from simulators.oracle import score
    from simulators.run_ledger import read_run

    if arguments.truth is not None:
        return _score_truth(settings, arguments)
    if arguments.ledger is None:
        raise ConfigError("name a run's ledger, or a truth file with --truth")
    try:
        run = read_run(arguments.ledger)
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error
    with psycopg.connect(database_url(settings)) as conn:
        found = score(conn, run, received=arguments.received, feed=arguments.feed)
    if arguments.json:
        print(json.dumps({**asdict(found), "sound": found.sound}, ensure_ascii=False))
    else:
        print(f"{found.sent} sent, {found.acked} acknowledged, {found.stored} stored")
        for one in found.verdicts:
            examples = f": {', '.join(one.examples)}" if one.examples else ""
            print(f"  {one.letter}  {one.breaches:>6}  {one.asks}{examples}")
        print("sound" if found.sound else "UNSOUND")
    return 0 if found.sound else 1
