"""``cityhub rule``: what holds where, who changed it, and changing it."""

import argparse
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cityhub.commands import Commands, add_command, add_group, add_json

if TYPE_CHECKING:
    from core.db import Pool
    from core.settings import Settings
    from devices.rule_store import By, Target
    from devices.rulebook import Rulebook

T = TypeVar("T")

_ABOUT: Final = """\
  cityhub rule list --kind manhole_cover            every rule of a kind, and what was changed
  cityhub rule show manhole_cover cover_flooded     its fields, and where each comes from
  cityhub rule show manhole_cover cover_flooded --device MH-0001
  cityhub rule set manhole_cover cover_flooded orange=0.4 hold=3 --reason "汛期提前预警"
  cityhub rule set street_lamp lamp_out on_delay_s=1800 --scope grid:14118200100101 --reason "施工"
  cityhub rule set water_gauge level_ladder red=4.2 --scope device:WG-0003 --reason "保证水位复核"
  cityhub rule set manhole_cover cover_settling enabled=false --reason "..."
  cityhub rule set manhole_cover cover_flooded hold=- --reason "..."   back to what is wider
  cityhub rule history manhole_cover cover_flooded
  cityhub rule undo manhole_cover cover_flooded --reason "误改"

A rule is named by a kind of device and its own name. It holds as shipped, until you say in a scope
what differs: the whole kind, a class of components (class:0102), a grid cell (grid:CODE) or one
device (device:ID). The narrower scope wins, field by field. Every change is a new version with its
author and reason; nothing is overwritten, and 'undo' is one more version. A running hub follows
within a second and keeps what its detectors have learnt. Before changing a threshold, ask what it
would have raised: cityhub backtest --help.
"""


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(commands, "rule", "what raises an alarm, where, and who changed it", _ABOUT)
    listing = add_command(group, "list", _list, "list rules and where they were changed")
    listing.add_argument("--kind", help="only of this kind")
    add_json(listing)
    show = add_command(group, "show", _show, "show each field of a rule and where it comes from")
    _name(show)
    show.add_argument("--device", metavar="ID", help="as it holds for this device")
    add_json(show)
    change = add_command(
        group,
        "set",
        _set,
        "say what differs of a rule in a scope; what the scope said before stays otherwise",
        examples='  cityhub rule set street_lamp leakage red=20 --reason "雨季"',
    )
    _name(change)
    change.add_argument(
        "fields", nargs="+", metavar="FIELD=VALUE", help="a JSON value or a word; '-' takes it back"
    )
    _who(change)
    change.add_argument("--backtest", metavar="REF", help="the back-test that speaks for it")
    history = add_command(group, "history", _history, "who changed a rule, when and why")
    _name(history)
    history.add_argument("--scope", help="only in this scope")
    add_json(history)
    undo = add_command(group, "undo", _undo, "take the last change of a scope back")
    _name(undo)
    _who(undo)


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", help="kind of device, such as manhole_cover")
    parser.add_argument("rule", help="the rule, such as cover_flooded")


def _who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scope",
        default="kind",
        help="kind (all of it), class:0102, grid:CODE or device:ID; the narrower wins (kind)",
    )
    parser.add_argument("--reason", required=True, help="why; it stands in the history")
    parser.add_argument("--actor", help="who, for the audit (your login here)")
    parser.add_argument(
        "--version", type=int, metavar="N", help="refuse if the rule is not at this version"
    )
    add_json(parser)


def _list(settings: "Settings", arguments: argparse.Namespace) -> None:
    from core.errors import ConfigError
    from devices import KINDS
    from devices.registry import VIRTUAL_KINDS
    from devices.rules import rules_of

    known = [*KINDS, *VIRTUAL_KINDS]
    if arguments.kind and arguments.kind not in known:
        raise ConfigError(f"there is no kind {arguments.kind!r}; there are {', '.join(known)}")
    book = _run(settings, _book)
    rows: list[dict[str, Any]] = [
        {
            "kind": kind,
            "rule_id": rule.rule_id,
            "label": rule.label.zh,
            "version": book.newest(kind, rule.rule_id),
            "changed": {scope: dict(each.body) for scope, each in changed.items() if each.body},
        }
        for kind in ([arguments.kind] if arguments.kind else known)
        for rule in rules_of(kind)
        for changed in [book.scopes(kind, rule.rule_id)]
    ]
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        print(f"{row['kind']:<18} {row['rule_id']:<18} v{row['version']:<3} {row['label']}")
        for scope, body in row["changed"].items():
            print(f"{'':<18} {scope}: {_words(body)}")


def _show(settings: "Settings", arguments: argparse.Namespace) -> None:
    from core.db import transaction
    from core.errors import NotFoundError
    from devices.registry import Device
    from devices.rule_fields import fields_of
    from devices.rule_store import read_device

    async def read(pool: "Pool") -> tuple["Rulebook", Device]:
        async with transaction(pool) as conn:
            named = arguments.device
            whom = await read_device(conn, named) if named else Device(0, "", arguments.kind)
        return await _book(pool), whom

    fields = fields_of(arguments.kind, arguments.rule)
    if not fields:
        raise NotFoundError(f"{arguments.kind} has no rule {arguments.rule!r}; see 'rule list'")
    book, device = _run(settings, read)
    if device.kind != arguments.kind:
        raise NotFoundError(f"{device.device_id} is no {arguments.kind} but a {device.kind}")
    origins = book.origins(arguments.rule, device, device.limits)
    if arguments.json:
        rows = [
            {
                "name": name,
                "value": origin.value,
                "scope": origin.scope,
                "version": origin.version,
                "shipped": fields[name].default,
                "allowed": fields[name].allowed.en,
            }
            for name, origin in origins.items()
        ]
        print(json.dumps({"version": book.newest(arguments.kind, arguments.rule), "fields": rows}))
        return
    print(f"version {book.newest(arguments.kind, arguments.rule)}")
    for name, origin in origins.items():
        value, field = json.dumps(origin.value), fields[name]
        print(f"{name:<20} {value:<18} {origin.scope:<22} {field.about.zh}（{field.allowed.zh}）")


def _set(settings: "Settings", arguments: argparse.Namespace) -> None:
    from devices.rule_store import put_rule

    changes = dict(_field(text) for text in arguments.fields)

    async def change(pool: "Pool") -> Mapping[str, Any]:
        target = _target(arguments)
        book = await _book(pool)
        body = {**book.body(target.kind, target.rule_id, target.scope), **changes}
        kept = {name: value for name, value in body.items() if value is not _BACK}
        # what was read is what is replaced: a change by somebody else in between is told
        seen = arguments.version or book.newest(target.kind, target.rule_id)
        return await put_rule(pool, target, kept, _by(arguments, seen, arguments.backtest))

    _tell(arguments, _run(settings, change))


def _undo(settings: "Settings", arguments: argparse.Namespace) -> None:
    from devices.rule_store import undo_rule

    by = _by(arguments, arguments.version)
    _tell(arguments, _run(settings, lambda pool: undo_rule(pool, _target(arguments), by)))


def _history(settings: "Settings", arguments: argparse.Namespace) -> None:
    from core.db import transaction
    from devices.rule_store import read_history

    async def read(pool: "Pool") -> list[dict[str, Any]]:
        async with transaction(pool) as conn:
            return await read_history(
                conn, arguments.kind, arguments.rule, scope=arguments.scope, limit=500
            )

    rows = _run(settings, read)
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False, default=str))
        return
    for row in rows:
        undone = f", takes back v{row['undoes']}" if row["undoes"] else ""
        print(f"v{row['version']} {row['valid_from']:%Y-%m-%d %H:%M:%S%z} {row['author']}{undone}")
        print(f"   {row['scope']}: {_words(row['body'])}")
        print(f"   {row['reason']}")
    print("v1 as shipped")


class _Back:
    """Marks a field that a scope shall say nothing of any more."""


_BACK: Final = _Back()


def _field(text: str) -> tuple[str, Any]:
    from core.errors import ConfigError

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"{text!r}: write FIELD=VALUE, such as orange=0.4")
    if value == "-":
        return name, _BACK
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _target(arguments: argparse.Namespace) -> "Target":
    from devices.rule_store import Target

    return Target(kind=arguments.kind, rule_id=arguments.rule, scope=arguments.scope)


def _by(arguments: argparse.Namespace, seen: int | None, backtest: str | None = None) -> "By":
    import getpass

    from core.clock import SystemClock
    from devices.rule_store import By

    return By(
        actor=arguments.actor or f"cli:{getpass.getuser()}",
        at=SystemClock().now(),
        reason=arguments.reason,
        seen=seen,
        backtest_ref=backtest,
    )


async def _book(pool: "Pool") -> "Rulebook":
    from core.db import transaction
    from devices.rule_store import read_rulebook

    async with transaction(pool) as conn:
        return await read_rulebook(conn)


def _run(settings: "Settings", act: Callable[["Pool"], Awaitable[T]]) -> T:
    import asyncio

    from cityhub.access import database_url
    from core.db import open_pool

    async def main() -> T:
        async with open_pool(database_url(settings), 1, name="command") as pool:
            return await act(pool)

    return asyncio.run(main())


def _tell(arguments: argparse.Namespace, done: Mapping[str, Any]) -> None:
    if arguments.json:
        print(json.dumps(done, ensure_ascii=False))
        return
    print(f"{arguments.kind} {arguments.rule} is at version {done['version']}")
    print(f"{done['scope']}: {_words(done['body'])}")


def _words(body: Mapping[str, Any]) -> str:
    shown = " ".join(f"{name}={json.dumps(value)}" for name, value in body.items())
    return shown or "as what is wider"
