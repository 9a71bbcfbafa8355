"""``cityhub quarantine``: what could not be read, why, and how to take it up again."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cityhub.commands import Commands, add_command, add_group, add_json

if TYPE_CHECKING:
    from core.settings import Settings

SELECT_LIST = """
SELECT quarantine_id, last_at, repeat_count, code, topic, detail_zh, detail_en
  FROM hub.quarantine
 WHERE state = 'open' AND (%(code)s::text IS NULL OR code = %(code)s)
 ORDER BY last_at DESC, quarantine_id DESC LIMIT %(limit)s
"""
SELECT_ONE = "SELECT * FROM hub.quarantine WHERE quarantine_id = %s"
_MARKS = {"fine": " ", "warned": "!", "refused": "✗"}


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands,
        "quarantine",
        "messages that could not be read: why, and how to take them up again",
        "  cityhub quarantine groups\n"
        "  cityhub quarantine list --code not_json\n"
        "  cityhub quarantine compare 42\n"
        "  cityhub quarantine try 42 --rename angle=tilt --scale tilt=0.1\n"
        "  cityhub quarantine redrive --code wrong_type --firmware 2.1 --scale tilt=1\n"
        "  cityhub quarantine discard 42 43 --reason 'test devices'\n"
        "  cityhub quarantine show 42 --raw > payload.bin",
    )
    groups = add_command(group, "groups", _groups, "by reason, maker, model and firmware")
    groups.add_argument("--limit", type=int, default=50, help="at most so many (50)")
    add_json(groups)
    listing = add_command(group, "list", _list, "list them, the latest first")
    listing.add_argument("--code", help="only with this reason")
    listing.add_argument("--limit", type=int, default=50, help="at most so many (50)")
    add_json(listing)
    show = add_command(group, "show", _show, "show one")
    show.add_argument("id", type=int)
    show.add_argument("--raw", action="store_true", help="print its bytes and nothing else")
    add_json(show)
    compare = add_command(
        group, "compare", _compare, "show one beside the thing model, with what differs marked"
    )
    compare.add_argument("id", type=int)
    add_json(compare)
    attempt = add_command(
        group, "try", _attempt, "show what one would become with a mapping; writes nothing"
    )
    attempt.add_argument("id", type=int)
    _add_mapping(attempt)
    add_json(attempt)
    redrive = add_command(
        group, "redrive", _redrive, "take messages up again, with their own times, as history"
    )
    _add_choice(redrive)
    _add_mapping(redrive)
    add_json(redrive)
    discard = add_command(group, "discard", _discard, "settle messages as worth nothing")
    _add_choice(discard)
    discard.add_argument("--reason", required=True, help="why; it stands in the audit")
    add_json(discard)
    expire = add_command(
        group, "expire", _expire, "discard what is older than ingest.quarantine_days (roles do it)"
    )
    expire.add_argument("--days", type=float, help="others than the setting says")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Let a person say which messages: by number, or all open ones of a group."""
    parser.add_argument("ids", type=int, nargs="*", metavar="ID", help="their numbers")
    parser.add_argument("--code", help="all open ones with this reason")
    parser.add_argument("--device", metavar="ID", help="… of this device")
    parser.add_argument("--prefix", help="… of devices whose id begins so, as the groups show it")
    parser.add_argument("--kind", help="… of this kind")
    parser.add_argument("--model", help="… of this model")
    parser.add_argument("--firmware", help="… of this firmware")
    parser.add_argument("--actor", help="who does it, for the audit (your login here)")


def _add_mapping(parser: argparse.ArgumentParser) -> None:
    for name, what in (
        ("rename", "OLD=NEW: the device's name of a field, and the thing model's"),
        ("scale", "FIELD=FACTOR; 1 makes a number of a text"),
        ("offset", "FIELD=NUMBER: added after scaling"),
    ):
        metavar = what.partition(":")[0].partition(";")[0]
        parser.add_argument(f"--{name}", action="append", default=[], metavar=metavar, help=what)
    parser.add_argument("--mapping", type=Path, metavar="FILE", help="the same as a JSON file")


def _groups(settings: "Settings", arguments: argparse.Namespace) -> None:
    rows = _bench(settings, lambda bench: bench.groups(limit=arguments.limit))
    if _as_json(arguments, rows):
        return
    if not rows:
        print("nothing is in quarantine")
    for row in rows:
        maker = " ".join(filter(None, (row["prefix"], row["kind"], row["model"], row["firmware"])))
        print(
            f"{row['records']:>8}  {row['code']:<20} {maker or '-':<40} {row['senders']} senders,"
            f" last {row['last_at']:%Y-%m-%d %H:%M:%S}Z, such as {row['example']}"
        )


def _list(settings: "Settings", arguments: argparse.Namespace) -> None:
    rows = _query(settings, SELECT_LIST, {"code": arguments.code, "limit": arguments.limit})
    if _as_json(arguments, rows):
        return
    if not rows:
        print("nothing is in quarantine")
    for row in rows:
        print(
            f"{row['quarantine_id']:>6}  {row['last_at']:%Y-%m-%d %H:%M:%S}Z  {row['code']:<20}"
            f" ×{row['repeat_count']:<5} {row['topic']}"
        )
        print(f"{'':>8}{row['detail_zh']} / {row['detail_en']}")


def _show(settings: "Settings", arguments: argparse.Namespace) -> None:
    from core.errors import NotFoundError

    rows = _query(settings, SELECT_ONE, [arguments.id])
    if not rows:
        raise NotFoundError(f"there is no message {arguments.id} in quarantine")
    row = rows[0]
    payload = bytes(row["payload"])
    if arguments.raw:
        sys.stdout.buffer.write(payload)
        return
    facts = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in row.items()
        if name != "payload"
    }
    facts["payload"] = payload.decode("utf-8", "backslashreplace")
    if _as_json(arguments, facts):
        return
    for name, value in facts.items():
        print(f"{name:<16} {'' if value is None else value}")


def _compare(settings: "Settings", arguments: argparse.Namespace) -> None:
    found = _bench(settings, lambda bench: bench.compare(arguments.id))
    if _as_json(arguments, found):
        return
    print(f"{found['topic']}  {found['kind'] or 'nobody knows the kind of this device'}")
    _print_text(found["problem"])
    if found["near"]:
        print(f"  {found['near']}")
    for record in found["records"]:
        if record["index"] is not None:
            print(f"record {record['index']}")
        _print_text(record["problem"])
        for field in record["fields"]:
            wanted = field["wanted"] or {"zh": "–", "en": "–"}
            print(f"{_MARKS[field['mark']]} {field['key']:<16} {field['sent']:<24}", end=" ")
            print(f"{wanted['zh']} / {wanted['en']}")
            _print_text(field["note"])
            if field["closest"]:
                print(f"    --rename {field['key']}={field['closest']}")


def _attempt(settings: "Settings", arguments: argparse.Namespace) -> None:
    mapping = _mapping(arguments)
    found = _bench(settings, lambda bench: bench.attempt(arguments.id, mapping=mapping))
    if _as_json(arguments, found):
        return
    for record in found:
        if record["code"]:
            print(f"✗ {record['device_id']} {record['code']}")
            _print_text(record["problem"])
        else:
            facts = json.dumps(record["values"], ensure_ascii=False)
            print(f"  {record['device_id']} {record['table']} {record['ts']} {facts}")


def _redrive(settings: "Settings", arguments: argparse.Namespace) -> int:
    mapping = _mapping(arguments)
    total = {"redriven": 0, "received": 0, "stored": 0, "duplicate": 0, "quarantined": 0}
    refused = _settle_all(
        settings,
        arguments,
        total,
        lambda bench, chosen: bench.redrive(actor=_actor(arguments), mapping=mapping, **chosen),
    )
    if not _as_json(arguments, {**total, "refused": refused}):
        print(
            f"{total['redriven']} messages taken up: {total['stored']} records stored,"
            f" {total['duplicate']} were there already, {total['quarantined']} still refused"
        )
        _print_refused(refused)
    return 1 if refused else 0


def _discard(settings: "Settings", arguments: argparse.Namespace) -> int:
    total = {"discarded": 0}
    refused = _settle_all(
        settings,
        arguments,
        total,
        lambda bench, chosen: bench.discard(
            actor=_actor(arguments), reason=arguments.reason, **chosen
        ),
    )
    if not _as_json(arguments, {**total, "refused": refused}):
        print(f"{total['discarded']} messages discarded")
        _print_refused(refused)
    return 1 if refused else 0


def _settle_all(
    settings: "Settings", arguments: argparse.Namespace, total: dict[str, int], act: Any
) -> list[dict[str, Any]]:
    """Settle all that was chosen, some at a time; add to ``total``; return what was refused."""
    words = ("code", "device", "prefix", "kind", "model", "firmware")
    refused: list[dict[str, Any]] = []
    ids, after = tuple(arguments.ids), 0
    while True:
        chosen: dict[str, Any] = {word: getattr(arguments, word) for word in words}
        chosen |= {"ids": ids[:1000], "after": after}
        done = _bench(settings, lambda bench, chosen=chosen: act(bench, chosen))
        for name in total:
            total[name] += done[name]
        refused += done["refused"]
        ids, named = ids[1000:], bool(ids)
        if done["last"] is None or (named and not ids):
            return refused
        after = done["last"]


def _expire(settings: "Settings", arguments: argparse.Namespace) -> None:
    days = arguments.days or settings.ingest.quarantine_days
    count = _bench(settings, lambda bench: bench.expire(days=days))
    print(f"{count} messages older than {days:g} days: discarded, their bytes dropped")


def _mapping(arguments: argparse.Namespace) -> dict[str, Any]:
    from core.errors import ConfigError

    try:
        given = json.loads(arguments.mapping.read_text("utf-8")) if arguments.mapping else {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the mapping {arguments.mapping}: {error}") from error
    if not isinstance(given, dict):
        raise ConfigError(f"the mapping {arguments.mapping} is no JSON object")
    mapping: dict[str, Any] = {
        name: dict(given.get(name, {})) for name in ("rename", "scale", "offset")
    }
    for name, fields in mapping.items():
        for text in getattr(arguments, name):
            field, _, value = text.partition("=")
            try:
                fields[field] = value if name == "rename" else float(value)
            except ValueError as error:
                raise ConfigError(f"--{name} {text}: write FIELD=NUMBER") from error
    return mapping


def _actor(arguments: argparse.Namespace) -> str:
    import getpass

    return arguments.actor or f"cli:{getpass.getuser()}"


def _bench(settings: "Settings", ask: Any) -> Any:
    import asyncio

    from cityhub.access import database_url
    from core.clock import SystemClock
    from ingest.bench import QuarantineBench

    bench = QuarantineBench(database_url(settings), settings.ingest, SystemClock())
    return asyncio.run(ask(bench))


def _as_json(arguments: argparse.Namespace, facts: Any) -> bool:
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False, default=str))
    return bool(arguments.json)


def _print_text(text: dict[str, str] | None) -> None:
    if text:
        print(f"    {text['zh']} / {text['en']}")


def _print_refused(refused: list[dict[str, Any]]) -> None:
    for each in refused[:20]:
        print(f"{each['quarantine_id']:>6}  {each['why']['zh']} / {each['why']['en']}")
    if len(refused) > 20:  # noqa: PLR2004 - a screen
        print(f"… and {len(refused) - 20} more")


def _query(settings: "Settings", query: str, values: Any) -> list[dict[str, Any]]:
    from psycopg.rows import dict_row

    from cityhub.access import connect

    with connect(settings) as conn, conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET timezone = 'UTC'")
        return cursor.execute(query.encode(), values).fetchall()
