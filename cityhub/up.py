"""``cityhub up``: everything on this machine, in one command, until Ctrl-C."""

import asyncio
import logging
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import psycopg

from api.routers.page import is_built
from cityhub import access
from cityhub.hub import Hub
from cityhub.news import tell_news
from core.settings import Settings
from devices.secret import device_secret

_STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SELECT_COVER: Final = """
SELECT device_id, secret_no FROM hub.device
 WHERE kind = 'manhole_cover' AND state = 'active' AND secret_hash IS NOT NULL
   AND starts_with(device_id, 'sim-')
 ORDER BY device_id LIMIT 1
"""


def up(
    settings: Settings, *, demo: bool, without: Collection[str], config: Path | None = None
) -> int:
    """Run until somebody stops it; return the exit code.

    Args:
        settings: The settings.
        demo: With a simulated city and a stand-in for the city-management platform.
        without: Stages to leave out, of :data:`cityhub.hub.STAGES`.
        config: The file that the settings came from.

    Raises:
        StartError: Something could not be started.
    """
    try:
        return asyncio.run(_run(settings, demo, without, config))
    except asyncio.CancelledError:
        return 0


async def _run(
    settings: Settings, demo: bool, without: Collection[str], config: Path | None
) -> int:
    # The hub itself says once that the database is away; the listeners would say so, too.
    logging.getLogger("core.db").setLevel(logging.ERROR)
    hub = Hub(settings, demo=demo, without=without, say=_say, config=config)
    cancel_on_signal()
    try:
        await hub.start()
        _welcome(hub, demo)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hub.keep())
            zone = ZoneInfo(settings.city.time_zone)
            tasks.create_task(tell_news(hub.database_url, zone, _say))
    finally:
        _say("stopping")
        hub.stop()
        _say("stopped")
    return 0


def cancel_on_signal() -> None:
    """Let Ctrl-C and SIGTERM cancel the running task; further ones change nothing."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - called from a task
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP on purpose
            loop.add_signal_handler(number, task.cancel)


def _welcome(hub: Hub, demo: bool) -> None:
    """Print where everything is and what to try first."""
    page = f"{hub.api_url}/" if is_built() else f"{hub.api_url}/lite (the full page is not built)"
    lines = ["", f"page      {page}", f"API       {hub.api_url}/api/openapi.json"]
    if hub.mqtt_address:
        host, port = hub.mqtt_address
        lines.append(f"devices   mqtt://{host}:{port}")
    lines.append(f"data      {hub.folder.path}")
    command = publish_command(hub) if demo else None
    if command:
        lines += ["", "speak as a device; this cover says that it lies on its side:", command]
    else:
        lines += [
            "",
            "register a device and get its login: cityhub device add MH-0001 --kind manhole_cover",
        ]
    lines += ["", "Ctrl-C stops everything", ""]
    _say("\n".join(lines))


def publish_command(hub: Hub) -> str | None:
    """Return a command that publishes as a simulated cover, with its login, if there is one.

    The login of a real device is nobody's to read on a terminal: ``cityhub device secret`` asks.
    """
    if hub.mqtt_address is None:
        return None
    with psycopg.connect(hub.database_url) as conn:
        row = conn.execute(SELECT_COVER).fetchone()
    if row is None:
        return None
    secret = device_secret(hub.site_key, *row)
    return access.publish_command(*hub.mqtt_address, row[0], secret, {"tilt": 95})


def _say(words: str) -> None:
    print(words, flush=True)
