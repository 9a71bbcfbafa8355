"""What ``cityhub up`` prints for newcomers, and what it must not."""

from pathlib import Path

import psycopg
from pydantic import SecretStr

from cityhub.hub import Hub
from cityhub.ports import LOOPBACK, is_free, keep_port
from cityhub.up import publish_command
from core.settings import Broker, Data, Database, Settings
from devices.registry import register
from tests.servers import SITE_KEY


def _hub(database: str, folder: Path) -> Hub:
    settings = Settings(
        data=Data(folder=folder),
        database=Database(url=SecretStr(database)),
        broker=Broker(url=SecretStr("mqtt://hub:secret@127.0.0.1:1883")),
    )
    hub = Hub(settings, demo=True, say=lambda _: None)
    hub.site_key = SITE_KEY
    return hub


def test_the_password_of_a_real_device_is_never_printed(database: str, tmp_path: Path) -> None:
    hub = _hub(database, tmp_path)
    with psycopg.connect(database) as conn:
        register(conn, "MH-0001", "manhole_cover", site_key=SITE_KEY)
    assert publish_command(hub) is None

    with psycopg.connect(database) as conn:
        register(conn, "sim-MH-0001", "manhole_cover", site_key=SITE_KEY)
    command = publish_command(hub) or ""
    assert "-u sim-MH-0001" in command


def test_the_port_that_was_free_at_the_first_start_is_kept_for_later_ones(tmp_path: Path) -> None:
    file = tmp_path / "api.port"
    first = keep_port(0, file, what="the page", setting="CITYHUB_API_PORT", host=LOOPBACK)
    assert is_free(first)
    again = keep_port(0, file, what="the page", setting="CITYHUB_API_PORT", host=LOOPBACK)
    assert again == first
