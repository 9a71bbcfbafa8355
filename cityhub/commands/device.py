"""``cityhub device``: who is registered, and their logins."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from cityhub.commands import Commands, add_command, add_group, add_json

if TYPE_CHECKING:
    from core.settings import Settings

_LOGIN_S: Final = 10.0
_KNOCK_S: Final = 0.2


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands,
        "device",
        "devices of the registry and their logins",
        "  cityhub device add MH-0001 --kind manhole_cover --lon 111.78 --lat 37.26\n"
        "  cityhub device secret MH-0001\n"
        "  cityhub device rotate MH-0001\n"
        "  cityhub device retire MH-0001\n"
        "  cityhub device list --kind street_lamp --json",
    )
    new = add_command(group, "add", _add, "register a device and print its login")
    new.add_argument("device_id", help="its id, such as MH-0001")
    new.add_argument("--kind", required=True, help="its kind, such as manhole_cover")
    new.add_argument("--name", default="", help="what staff call it")
    new.add_argument("--lon", type=float, help="longitude, WGS-84 degrees")
    new.add_argument("--lat", type=float, help="latitude, WGS-84 degrees")
    new.add_argument("--component", metavar="CODE", help="the component it watches, 16 digits")
    new.add_argument("--grid", metavar="CODE", help="its grid cell")
    new.add_argument("--gateway", metavar="ID", help="the gateway that carries it")
    new.add_argument("--feeder", metavar="ID", help="the feeder that powers it")
    add_json(new)
    listing = add_command(group, "list", _list, "list devices by id")
    listing.add_argument("--kind", help="only of this kind")
    listing.add_argument("--after", default="", metavar="ID", help="begin behind this id")
    listing.add_argument("--limit", type=int, default=1000, help="at most so many (1000)")
    add_json(listing)
    show = add_command(group, "show", _show, "show one device")
    show.add_argument("device_id")
    add_json(show)
    secret = add_command(group, "secret", _secret, "print the password of a device's login")
    secret.add_argument("device_id")
    rotate = add_command(
        group,
        "rotate",
        _rotate,
        "give a device another password, print it, and make the old one worthless",
    )
    rotate.add_argument("device_id")
    rotate.add_argument("--actor", help="who wants it, for the audit (your login here)")
    retire = add_command(
        group, "retire", _retire, "shut a device out for good; what it measured stays"
    )
    retire.add_argument("device_id")
    retire.add_argument("--undo", action="store_true", help="take it back into service")
    retire.add_argument("--actor", help="who wants it, for the audit (your login here)")


def _add(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.access import connect, publish_command, running
    from core.errors import ConfigError
    from devices import KINDS
    from devices.registry import register
    from devices.secret import device_secret, load_site_key

    site_key = load_site_key(settings.data_folder, make=False)
    try:
        with connect(settings) as conn:
            device = register(
                conn,
                arguments.device_id,
                arguments.kind,
                name=arguments.name,
                component_code=arguments.component,
                grid_code=arguments.grid,
                lon=arguments.lon,
                lat=arguments.lat,
                gateway=arguments.gateway,
                feeder=arguments.feeder,
                site_key=site_key,
            )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    secret = device_secret(site_key, device.device_id)
    if arguments.json:
        print(json.dumps({**asdict(device), "secret": secret}, ensure_ascii=False))
    else:
        print(f"registered {device.device_id} as number {device.device_no}")
        print(f"login: user {device.device_id}  password {secret}")
        door = running(settings)
        if door.get("mqtt_host") and device.kind in KINDS:
            _wait_for_login(door["mqtt_host"], door["mqtt_port"], device.device_id, secret)
            metric = KINDS[device.kind].metrics[0]
            line = publish_command(
                *(door["mqtt_host"], door["mqtt_port"], device.device_id, secret),
                {metric.name: metric.rest},
            )
            print(f"its first message:\n{line}")


def _wait_for_login(host: str, port: int, user: str, password: str) -> None:
    """Wait until the running broker has taken the new login over; it takes about a second."""
    import asyncio

    from core.errors import ConfigError
    from ingest.sources.log import touch_mqtt

    async def knock() -> None:
        async with asyncio.timeout(_LOGIN_S):
            while True:
                try:
                    await touch_mqtt(host, port, user, password)
                except (ConfigError, OSError, EOFError):
                    await asyncio.sleep(_KNOCK_S)
                else:
                    return

    try:
        asyncio.run(knock())
    except TimeoutError:
        print("the broker does not know this login yet; if it stays so: cityhub doctor")


def _list(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.access import connect
    from devices.registry import list_devices

    with connect(settings) as conn:
        devices = list_devices(
            conn, kind=arguments.kind, after=arguments.after, limit=arguments.limit
        )
    if arguments.json:
        print(json.dumps([asdict(device) for device in devices], ensure_ascii=False))
        return
    for device in devices:
        print(f"{device.device_id:<24} {device.kind:<20} {device.state:<12} {device.name}")


def _show(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.access import connect
    from devices.registry import find

    with connect(settings) as conn:
        facts: dict[str, Any] = asdict(find(conn, arguments.device_id))
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        print(f"{name:<16} {'' if value is None else value}")


def _secret(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.access import connect
    from devices.registry import find_secret
    from devices.secret import load_site_key

    site_key = load_site_key(settings.data_folder, make=False)
    with connect(settings) as conn:
        print(find_secret(conn, arguments.device_id, site_key=site_key))


def _rotate(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.access import connect
    from core.clock import SystemClock
    from devices.registry import rotate_secret
    from devices.secret import load_site_key

    site_key = load_site_key(settings.data_folder, make=False)
    with connect(settings) as conn:
        secret = rotate_secret(
            conn,
            arguments.device_id,
            site_key=site_key,
            at=SystemClock().now(),
            actor=_actor(arguments),
        )
    print(f"login: user {arguments.device_id}  password {secret}")
    print("the broker of 'cityhub up' cuts off whoever uses the old one; tell it to the device")


def _retire(settings: "Settings", arguments: argparse.Namespace) -> None:
    from cityhub.access import connect
    from core.clock import SystemClock
    from devices.registry import retire

    with connect(settings) as conn:
        retire(
            conn,
            arguments.device_id,
            at=SystemClock().now(),
            actor=_actor(arguments),
            undo=arguments.undo,
        )
    print(f"{arguments.device_id} is {'in service again' if arguments.undo else 'retired'}")


def _actor(arguments: argparse.Namespace) -> str:
    import getpass

    return arguments.actor or f"cli:{getpass.getuser()}"
