"""``cityhub quarantine``: what could not be read, and why."""

import argparse
import json
import sys
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


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands,
        "quarantine",
        "messages that could not be read, with their bytes and the reason",
        "  cityhub quarantine list --code not_json\n  cityhub quarantine show 42\n"
        "  cityhub quarantine show 42 --raw > payload.bin",
    )
    listing = add_command(group, "list", _list, "list them, the latest first")
    listing.add_argument("--code", help="only with this reason")
    listing.add_argument("--limit", type=int, default=50, help="at most so many (50)")
    add_json(listing)
    show = add_command(group, "show", _show, "show one")
    show.add_argument("id", type=int)
    show.add_argument("--raw", action="store_true", help="print its bytes and nothing else")
    add_json(show)


def _list(settings: "Settings", arguments: argparse.Namespace) -> None:
    rows = _query(settings, SELECT_LIST, {"code": arguments.code, "limit": arguments.limit})
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False, default=str))
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
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False, default=str))
        return
    for name, value in facts.items():
        print(f"{name:<16} {'' if value is None else value}")


def _query(settings: "Settings", query: str, values: Any) -> list[dict[str, Any]]:
    from psycopg.rows import dict_row

    from cityhub.access import connect

    with connect(settings) as conn, conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET timezone = 'UTC'")
        return cursor.execute(query.encode(), values).fetchall()
