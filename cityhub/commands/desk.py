"""The duty desk on the command line: shelves, maintenance windows, roles, the roster, the log."""

import argparse
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cityhub.commands import Commands, add_command, add_group, add_json

if TYPE_CHECKING:
    from alerts.actions import StaffActions
    from core.settings import Settings

_ROLES: Final = ("operator", "shift_leader", "duty_director")


def add(commands: Commands) -> None:
    """Add the commands."""
    _add_alarm(commands)
    _add_window(commands)
    _add_staff(commands)
    _add_roster(commands)
    group = add_group(commands, "audit", "the log that nobody can change", "  cityhub audit verify")
    verify = add_command(
        group, "verify", _verify, "walk the chain of the event log and name the first broken link"
    )
    add_json(verify)


def _add_alarm(commands: Commands) -> None:
    group = add_group(
        commands,
        "alarm",
        "keep an alarm quiet for a while 搁置",
        "  cityhub alarm shelve 17 --as 王 --minutes 60 --reason 施工单位在场\n"
        "  cityhub alarm unshelve 17 --as 王",
    )
    shelve = add_command(group, "shelve", _shelve, "shelve an alarm")
    shelve.add_argument("alarm", type=int, help="its number")
    _add_actor(shelve)
    shelve.add_argument("--minutes", type=float, required=True, help="for how long")
    shelve.add_argument("--reason", required=True, help="why")
    shelve.add_argument("--once", action="store_true", help="until it is over, if that is sooner")
    unshelve = add_command(group, "unshelve", _unshelve, "take an alarm off the shelf")
    unshelve.add_argument("alarm", type=int, help="its number")
    _add_actor(unshelve)


def _add_window(commands: Commands) -> None:
    group = add_group(
        commands,
        "window",
        "maintenance windows 检修窗口: devices out of service for a while",
        "  cityhub window open grid 14118200100101 --as 王 --hours 4 --reason 道路施工\n"
        "  cityhub window open device MH-0001 --as 王 --order FY-20261121-000001-W1 --reason 换盖\n"
        "  cityhub window end 3 --as 王",
    )
    opened = add_command(group, "open", _open, "open a window, now or later")
    opened.add_argument("scope", choices=("device", "group", "road", "grid", "feeder"))
    opened.add_argument("targets", nargs="+", help="device ids, roads, grid cells, or feeders")
    _add_actor(opened)
    opened.add_argument("--reason", required=True, help="why")
    opened.add_argument("--from", dest="starts", type=_time, help="from when on (now)")
    opened.add_argument("--hours", type=float, help="for how long")
    opened.add_argument("--order", help="a work order that it ends with")
    ended = add_command(group, "end", _end, "end a window before its time")
    ended.add_argument("window", type=int, help="its number")
    _add_actor(ended)
    add_json(add_command(group, "list", _windows, "windows that are planned or active"))


def _add_staff(commands: Commands) -> None:
    group = add_group(
        commands, "staff", "who may do more than an operator", "  cityhub staff set 陈 shift_leader"
    )
    given = add_command(group, "set", _set_role, "give a member of staff a role")
    given.add_argument("name", help="as the log calls them")
    given.add_argument("role", choices=_ROLES)
    add_json(add_command(group, "list", _list_staff, "all roles given"))


def _add_roster(commands: Commands) -> None:
    group = add_group(
        commands,
        "roster",
        "who is told when nobody takes note 值班表",
        "  cityhub roster add shift_leader 陈 --contact 13800000000\n  cityhub roster list",
    )
    added = add_command(group, "add", _add_duty, "put a person on the roster")
    added.add_argument("role", choices=("seat", "shift_leader", "duty_director"))
    added.add_argument("person")
    added.add_argument("--contact", default="", help="telephone, or whatever reaches them")
    added.add_argument("--from", dest="starts", type=_time, help="from when on (always)")
    added.add_argument("--to", dest="ends", type=_time, help="until when (for good)")
    removed = add_command(group, "remove", _remove_duty, "take an entry off the roster")
    removed.add_argument("entry", type=int, help="its number in 'cityhub roster list'")
    add_json(add_command(group, "list", _list_roster, "the roster"))


def _add_actor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--as", dest="actor", required=True, help="who acts, for the log")


def _time(text: str) -> datetime:
    """Return a time with its zone, such as ``2026-11-21T18:00+08:00``."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no time zone: write {text}+08:00")
    return at


def _shelve(settings: "Settings", arguments: argparse.Namespace) -> None:
    _act(
        settings,
        lambda staff: staff.shelve(
            arguments.alarm,
            actor=arguments.actor,
            reason=arguments.reason,
            minutes=arguments.minutes,
            once=arguments.once,
        ),
    )
    print(f"alarm {arguments.alarm} is shelved for {arguments.minutes:g} minutes")


def _unshelve(settings: "Settings", arguments: argparse.Namespace) -> None:
    _act(settings, lambda staff: staff.unshelve(arguments.alarm, actor=arguments.actor))
    print(f"alarm {arguments.alarm} is off the shelf")


def _open(settings: "Settings", arguments: argparse.Namespace) -> None:
    from core.clock import SystemClock

    starts = arguments.starts or SystemClock().now()
    ends = starts + timedelta(hours=arguments.hours) if arguments.hours else None
    outcome = _act(
        settings,
        lambda staff: staff.open_window(
            actor=arguments.actor,
            scope=arguments.scope,
            targets=arguments.targets,
            reason=arguments.reason,
            starts_at=arguments.starts,
            ends_at=ends,
            order_no=arguments.order,
        ),
    )
    print(f"maintenance window {outcome.window_id} is open")


def _end(settings: "Settings", arguments: argparse.Namespace) -> None:
    _act(settings, lambda staff: staff.end_window(arguments.window, actor=arguments.actor))
    print(f"maintenance window {arguments.window} is over")


def _act(settings: "Settings", act: "Callable[[StaffActions], Awaitable[Any]]") -> Any:
    """Let somebody act on the running hub's database."""
    import asyncio

    from alerts.actions import StaffActions
    from cityhub.access import database_url
    from cityhub.roles import connector, office
    from core.clock import SystemClock
    from core.db import open_pool

    async def main() -> Any:
        async with open_pool(database_url(settings), 1, name="command") as pool:
            staff = StaffActions(pool, SystemClock(), connector(settings), office=office(settings))
            return await act(staff)

    return asyncio.run(main())


def _windows(settings: "Settings", arguments: argparse.Namespace) -> None:
    _show(
        settings,
        arguments,
        "SELECT window_id, state, scope, targets, starts_at, ends_at, actor, reason"
        " FROM hub.maintenance_window WHERE state IN ('planned', 'active') ORDER BY window_id",
    )


def _list_staff(settings: "Settings", arguments: argparse.Namespace) -> None:
    _show(settings, arguments, "SELECT name, role FROM hub.staff ORDER BY role, name")


def _list_roster(settings: "Settings", arguments: argparse.Namespace) -> None:
    _show(
        settings,
        arguments,
        "SELECT roster_id, role, person, contact, starts_at, ends_at FROM hub.roster"
        " ORDER BY roster_id",
    )


def _set_role(settings: "Settings", arguments: argparse.Namespace) -> None:
    _change(
        settings,
        "give_role",
        "INSERT INTO hub.staff (name, role) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET role = excluded.role",
        [arguments.name, arguments.role],
    )
    print(f"{arguments.name} is {arguments.role}")


def _add_duty(settings: "Settings", arguments: argparse.Namespace) -> None:
    _change(
        settings,
        "add_duty",
        "INSERT INTO hub.roster (role, person, contact, starts_at, ends_at)"
        " VALUES (%s, %s, %s, %s, %s)",
        [arguments.role, arguments.person, arguments.contact, arguments.starts, arguments.ends],
    )
    print(f"{arguments.person} is on the roster as {arguments.role}")


def _remove_duty(settings: "Settings", arguments: argparse.Namespace) -> int:
    count = _change(
        settings, "remove_duty", "DELETE FROM hub.roster WHERE roster_id = %s", [arguments.entry]
    )
    print(f"entry {arguments.entry} is off the roster" if count else "there is no such entry")
    return 0 if count else 1


def _change(settings: "Settings", what: str, query: str, parameters: list[Any]) -> int:
    """Change the city's data, and say so in the audit."""
    from psycopg.types.json import Jsonb

    from cityhub.access import connect
    from core.clock import SystemClock

    with connect(settings) as conn:
        cursor = conn.execute(query.encode(), parameters)
        conn.execute(
            "INSERT INTO hub.audit (at, actor, action, object, object_id, detail)"
            " VALUES (%s, 'command', %s, 'city', '', %s)",
            [
                SystemClock().now(),
                what,
                Jsonb([str(value) for value in parameters]),
            ],
        )
        return cursor.rowcount


def _show(settings: "Settings", arguments: argparse.Namespace, query: str) -> None:
    from psycopg.rows import dict_row

    from cityhub.access import connect

    with connect(settings) as conn, conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query.encode()).fetchall()
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False, default=str))
        return
    for row in rows:
        print("  ".join("" if value is None else str(value) for value in row.values()))


def _verify(settings: "Settings", arguments: argparse.Namespace) -> int:
    from cityhub.access import connect
    from cityhub.chain import verify

    with connect(settings) as conn:
        report = verify(conn)
    if arguments.json:
        print(json.dumps(report.facts()))
    else:
        print(report.words)
    return 0 if report.whole else 1
