"""Receivers of cases: list them, add one, try one, stop one."""

import argparse
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from cityhub.commands import Commands, add_command, add_group, add_json

if TYPE_CHECKING:
    from core.db import Pool
    from core.settings import Settings

T = TypeVar("T")

_ABOUT: Final = """\
  cityhub receiver add district --kind exchange --url https://platform.city.example/orders
  cityhub receiver add duty --kind notify --secret file:duty.txt --least red
  cityhub receiver test district
"""


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(commands, "receiver", "who is told of cases, and in which form", _ABOUT)
    add_json(add_command(group, "list", _list, "list receivers, and what waits for each"))
    adding = add_command(group, "add", _add, "add a receiver; it is told of what happens from now")
    adding.add_argument("name", help="its name: small letters, digits and -")
    adding.add_argument(
        "--kind",
        required=True,
        help="webhook, exchange, cap, alertmanager, open311, file, notify or null",
    )
    adding.add_argument("--url", help="where to; of kind file a folder")
    adding.add_argument(
        "--secret",
        default="site",
        metavar="WHERE",
        help="site: follows from the site key; file:NAME: in 'secrets' of the data folder; none",
    )
    adding.add_argument(
        "--takes", action="append", metavar="TYPE", help="a message type; may be repeated"
    )
    adding.add_argument(
        "--least", choices=("blue", "yellow", "orange", "red"), help="only this grave or graver"
    )
    adding.add_argument("--per-minute", type=float, metavar="N", help="deliveries at most")
    adding.add_argument("--options", default="{}", metavar="JSON", help="options of its kind")
    for name, run, summary in (
        ("test", _test, "send a receiver one message marked as a test, now"),
        ("secret", _secret, "print the secret that its maker needs"),
        ("disable", _disable, "stop telling a receiver; what is queued waits"),
        ("enable", _enable, "tell a receiver again"),
    ):
        add_command(group, name, run, summary).add_argument("name", help="its name")


def _list(settings: "Settings", arguments: argparse.Namespace) -> None:
    from api.reads.receivers import list_receivers
    from api.store import look

    async def read(pool: "Pool") -> list[dict[str, object]]:
        async with look(pool) as lent:
            return await list_receivers(lent)

    rows = _run(settings, read)
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False, default=str))
        return
    for row in rows:
        state = "disabled" if row["disabled"] else "enabled"
        print(
            f"{row['name']:<20} {row['kind']:<13} {state:<9}"
            f" {row['waiting']} waiting, {row['dead']} dead  {row['url'] or ''}"
        )


def _add(settings: "Settings", arguments: argparse.Namespace) -> None:
    from alerts.receivers import Receiver, add_receiver
    from core.clock import SystemClock
    from core.db import transaction
    from core.errors import ConfigError
    from core.model import Severity

    try:
        options = json.loads(arguments.options)
    except ValueError as error:
        raise ConfigError(f"--options is no JSON: {error}") from error
    if not isinstance(options, dict):
        raise ConfigError("--options must be a JSON object")
    receiver = Receiver(
        name=arguments.name,
        kind=arguments.kind,
        url=arguments.url,
        secret_ref=arguments.secret,
        takes=tuple(arguments.takes or ()),
        least=Severity[arguments.least.upper()] if arguments.least else None,
        options=options,
        per_minute=arguments.per_minute,
        changed_at=SystemClock().now(),
        changed_by=_actor(),
    )

    async def insert(pool: "Pool") -> Receiver:
        async with transaction(pool) as conn:
            return await add_receiver(conn, receiver)

    added = _run(settings, insert)
    print(f"{added.name} is told of {', '.join(added.takes)}")


def _test(settings: "Settings", arguments: argparse.Namespace) -> int:
    from ipaddress import ip_network

    from alerts.receivers import find_receiver, open_connector
    from alerts.trial import trial_message
    from cityhub.roles import office, receiver_secrets
    from core.clock import SystemClock
    from core.db import transaction
    from core.errors import DispatchFailedError, DispatchRefusedError

    clock = SystemClock()

    async def send(pool: "Pool") -> str | None:
        async with transaction(pool) as conn:
            receiver = await find_receiver(conn, arguments.name)
        message = trial_message(receiver, office(settings), clock.now())
        async with open_connector(
            receiver,
            secrets=receiver_secrets(settings),
            networks=[ip_network(each) for each in settings.dispatch.networks],
            timeout_s=settings.dispatch.timeout_s,
            clock=clock,
        ) as connector:
            return await connector.deliver(message)

    try:
        number = _run(settings, send)
    except (DispatchFailedError, DispatchRefusedError) as error:
        print(f"not delivered: {error}")
        return 1
    print(f"delivered{f', known there as {number}' if number else ''}")
    return 0


def _secret(settings: "Settings", arguments: argparse.Namespace) -> None:
    from alerts.receivers import Receiver, find_receiver
    from cityhub.roles import receiver_secrets
    from core.db import transaction

    async def read(pool: "Pool") -> Receiver:
        async with transaction(pool) as conn:
            return await find_receiver(conn, arguments.name)

    print(receiver_secrets(settings).of(_run(settings, read)) or "it has none")


def _disable(settings: "Settings", arguments: argparse.Namespace) -> None:
    _set_disabled(settings, arguments.name, disabled=True)
    print(f"{arguments.name} is told of nothing more")


def _enable(settings: "Settings", arguments: argparse.Namespace) -> None:
    _set_disabled(settings, arguments.name, disabled=False)
    print(f"{arguments.name} is told again")


def _set_disabled(settings: "Settings", name: str, *, disabled: bool) -> None:
    from alerts.receivers import set_disabled
    from core.clock import SystemClock
    from core.db import transaction

    async def change(pool: "Pool") -> None:
        async with transaction(pool) as conn:
            now = SystemClock().now()
            await set_disabled(conn, name, disabled=disabled, actor=_actor(), now=now)

    _run(settings, change)


def _actor() -> str:
    import getpass

    return f"cli:{getpass.getuser()}"


def _run(settings: "Settings", act: Callable[["Pool"], Awaitable[T]]) -> T:
    import asyncio

    from cityhub.access import database_url
    from core.db import open_pool

    async def main() -> T:
        async with open_pool(database_url(settings), 1, name="command") as pool:
            return await act(pool)

    return asyncio.run(main())
