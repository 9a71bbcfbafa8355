"""The hub's own broker: NATS with its log on disk and a door for MQTT devices, on loopback.

Nobody gets in without a login, from the first start on: the hub's own speaks NATS and never MQTT,
every device has one that may only publish what is its own, and lists of what is allowed keep the
log's inner subjects closed to all of them. The list is written from the registry and read again by
the server while it runs; whoever is no longer on it is cut off.

The log must exist before the first device can publish, and NATS makes its part of it only for the
first MQTT client. So the first start makes a pass on ports that nobody knows.
"""

import asyncio
import json
import logging
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from cityhub.binaries import nats_server
from cityhub.child import Child, Program
from cityhub.folder import DataFolder, room_for, write_closed
from cityhub.ports import LOOPBACK, free_port, keep_port, remembered
from core.errors import CityhubError, StartError
from core.settings import Embedded
from devices.secret import device_secret, secret_hash
from devices.topics import PUBLISHED, Channel, Topic, subject_of

log = logging.getLogger(__name__)

HUB: Final = "hub"
SIMULATOR: Final = "simulator"
_MAX_PAYLOAD: Final = 1_114_112
_PATIENCE_S: Final = 60.0
_ASK_S: Final = 10.0
_ROOM_BYTES: Final = 16 << 20
_LOG_SHARE: Final = 0.6
_WAITING_SHARE: Final = 0.3
"""Of the quota; the rest is for what the server itself keeps."""
SELECT_LOGINS: Final = """
SELECT device_id, secret_no, secret_hash FROM hub.device
 WHERE secret_hash IS NOT NULL AND state <> 'retired' ORDER BY device_id
"""


@dataclass(frozen=True, slots=True)
class Login:
    """Who may enter and what they may do.

    Attributes:
        user: The name.
        password: The password.
        door: ``STANDARD`` or ``MQTT``.
        publish: Subjects it may publish to; None: all.
        subscribe: Subjects it may subscribe to; None: all.
    """

    user: str
    password: str
    door: str
    publish: tuple[str, ...] | None = None
    subscribe: tuple[str, ...] | None = None


def device_login(device_id: str, secret: str) -> Login:
    """Return a device's login: its own channels, nothing else.

    >>> device_login("MH-0001", "…").subscribe
    ('hub.MH-0001.command',)
    """
    return Login(
        device_id,
        secret,
        "MQTT",
        publish=tuple(subject_of(Topic(device_id, channel)) for channel in PUBLISHED),
        subscribe=(subject_of(Topic(device_id, Channel.COMMAND)),),
    )


def simulator_login(password: str) -> Login:
    """Return the login that speaks for every device of a simulated city."""
    return Login(
        SIMULATOR,
        password,
        "MQTT",
        publish=tuple(subject_of(Topic("*", channel)) for channel in PUBLISHED),
        subscribe=(subject_of(Topic("*", Channel.COMMAND)),),
    )


async def read_logins(url: str, site_key: bytes) -> list[Login]:
    """Return the logins of the registered devices.

    A device whose secret was made with another site key cannot log in: we do not know it.

    Args:
        url: The hub's database.
        site_key: What secrets follow from.
    """
    async with await psycopg.AsyncConnection.connect(
        url, autocommit=True, application_name="cityhub up", connect_timeout=5
    ) as conn:
        rows = await (await conn.execute(SELECT_LOGINS)).fetchall()
    logins, strange = [], []
    for device_id, number, hashed in rows:
        secret = device_secret(site_key, device_id, number)
        if secret_hash(secret) == hashed:
            logins.append(device_login(device_id, secret))
        else:
            strange.append(device_id)
    if strange:
        log.warning(
            "devices whose secret is not of this site key cannot log in",
            extra={"devices": strange[:10], "count": len(strange)},
        )
    return logins


class EmbeddedBroker:
    """A NATS server of our own.

    Args:
        folder: The open data folder.
        settings: Ports, disk and how often to force the log to it.
        say: Takes a word on what is going on.
    """

    def __init__(
        self, folder: DataFolder, settings: Embedded, *, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._own = folder.server("nats")
        self._config = self._own / "nats.conf"
        self._store = self._own / "store"
        self._quota_file = self._own / "quota"
        self._settings = settings
        self._say = say
        self._nats_port = 0
        self._logins: list[Login] = []
        self._child: Child | None = None
        self._quota = settings.max_log_bytes
        self._ask_at = 0.0
        self.mqtt_port = 0

    @property
    def url(self) -> str:
        """How the hub reaches the log, with the password."""
        return f"nats://{HUB}:{self._folder.secret('nats')}@{LOOPBACK}:{self._nats_port}"

    @property
    def simulator_url(self) -> str:
        """How the simulator reaches the devices' door, with the password."""
        return f"mqtt://{SIMULATOR}:{self._folder.secret('simulator')}@{LOOPBACK}:{self.mqtt_port}"

    @property
    def child(self) -> Child | None:
        """The running server."""
        return self._child

    async def start(self, devices: Sequence[Login] = ()) -> None:
        """Start it, the first time after making the log, and wait until the log answers.

        Raises:
            StartError: A sentence on what stands in the way and what to do.
        """
        program = self._settings.nats_server or nats_server(self._folder.copies)
        made = self._own / "made"
        if not self._store.exists():
            with room_for(self._store):
                made.unlink(missing_ok=True)
                self._store.mkdir(mode=0o700)
                self._folder.give(self._store)
        if not made.exists():
            self._say("making the log")
            await self._make_log(program)
            write_closed(made, "")
        if not self.mqtt_port:
            self.mqtt_port = keep_port(
                self._settings.mqtt_port,
                self._own / "mqtt.port",
                what="devices (MQTT)",
                setting="CITYHUB_EMBEDDED_MQTT_PORT",
            )
            self._nats_port = keep_port(
                self._settings.nats_port,
                self._own / "nats.port",
                what="the log (NATS)",
                setting="CITYHUB_EMBEDDED_NATS_PORT",
            )
        self._logins = [
            Login(HUB, self._folder.secret("nats"), "STANDARD"),
            simulator_login(self._folder.secret("simulator")),
            *devices,
        ]
        await self._run(program)

    def stop(self) -> None:
        """End it in order."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    async def is_stuck(self) -> bool:
        """Whether its disk was full: it acknowledges nothing more until it is started anew.

        Asked at most each ten seconds; a server that does not answer is no matter of this.
        """
        from ingest.sources.log import can_write

        if self._child is None or time.monotonic() < self._ask_at:
            return False
        self._ask_at = time.monotonic() + _ASK_S
        try:
            return not await can_write(self.url)
        except CityhubError:
            return False

    def has_room(self) -> bool:
        """Whether its disk has room for more than a few messages."""
        return shutil.disk_usage(self._store).free > _ROOM_BYTES

    def let_in(self, devices: Sequence[Login]) -> bool:
        """Take another list of devices' logins, while the server runs.

        Whoever is no longer on it is disconnected at once.

        Returns:
            Whether the list is another one.
        """
        logins = [*self._logins[:2], *devices]
        if logins == self._logins or self._child is None:
            return False
        self._logins = logins
        self._write()
        self._child.signal(signal.SIGHUP)
        return True

    async def _make_log(self, program: Path) -> None:
        """Make the log on ports that nobody knows, with one MQTT client of our own."""
        first = Login("setup", secrets.token_urlsafe(32), "MQTT", publish=(), subscribe=())
        self._logins = [Login(HUB, self._folder.secret("nats"), "STANDARD"), first]
        self._nats_port, self.mqtt_port = free_port(), free_port()
        await self._run(program, first)
        self.stop()
        self._nats_port = self.mqtt_port = 0

    async def _run(self, program: Path, first: Login | None = None) -> None:
        from ingest.sources.log import make_log, touch_mqtt

        # With less than its streams were promised the server would not open them.
        self._quota = max(self._settings.max_log_bytes, remembered(self._quota_file))
        write_closed(self._quota_file, f"{self._quota}\n")
        self._write()
        self._child = Child(
            Program(
                name="the broker",
                argv=[str(program), "--config", str(self._config)],
                log=self._folder.logs() / "nats.log",
                env={"PATH": "/usr/bin:/bin"},
                account=self._folder.account,
            )
        )
        start = time.monotonic()
        while True:
            if self._child.ended() is not None:
                words = self._child.last_words()
                self._child = None
                raise StartError(self._explain(words))
            try:
                await _knock(self._nats_port, self.mqtt_port)
                if first:
                    await touch_mqtt(LOOPBACK, self.mqtt_port, first.user, first.password)
                held = await make_log(
                    self.url,
                    max_bytes=int(_LOG_SHARE * self._settings.max_log_bytes),
                    waiting_bytes=int(_WAITING_SHARE * self._settings.max_log_bytes),
                )
            except (OSError, CityhubError) as error:
                if time.monotonic() - start > _PATIENCE_S:
                    self.stop()
                    raise StartError(
                        f"the broker does not answer ({error}); its log is"
                        f" {self._folder.path / 'logs' / 'nats.log'}"
                    ) from error
                await asyncio.sleep(0.05)
            else:
                if held:
                    write_closed(self._quota_file, f"{self._settings.max_log_bytes}\n")
                return

    def _write(self) -> None:
        write_closed(self._config, self._text(), self._folder.account)

    def _text(self) -> str:
        """Return the server's configuration. JSON strings are strings there, too."""
        settings = self._settings
        users = ",\n    ".join(map(_user, self._logins))
        return f"""\
# Written by cityhub up at each change of the registry; an edit would be lost.
server_name: cityhub
listen: "{LOOPBACK}:{self._nats_port}"
max_payload: {_MAX_PAYLOAD}
jetstream {{ store_dir: {json.dumps(str(self._store))}, max_mem: 64MB, \
max_file: {self._quota}, sync_interval: "{settings.sync_interval}" }}
mqtt {{ listen: "{LOOPBACK}:{self.mqtt_port}", stream_replicas: 1 }}
authorization {{
  timeout: 5
  users: [
    {users}
  ]
}}
"""

    def _explain(self, words: str) -> str:
        if "address already in use" in words:
            taken = self.mqtt_port if f":{self.mqtt_port}" in words else self._nats_port
            return (
                f"port {taken} for the broker is in use by another program: stop that one, or set"
                " CITYHUB_EMBEDDED_MQTT_PORT or CITYHUB_EMBEDDED_NATS_PORT (0: any free one)"
            )
        if "no space left" in words.lower() or "insufficient storage" in words.lower():
            return f"the disk of {self._own} is full: the broker cannot start; make room on it"
        reason = (words.splitlines() or ["it said nothing"])[-1]
        return (
            f"the broker did not start ({reason}); its log is"
            f" {self._folder.path / 'logs' / 'nats.log'}"
        )


async def _knock(*ports: int) -> None:
    """Raise OSError unless all these ports are open."""
    for port in ports:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.close()
        await writer.wait_closed()


def _user(login: Login) -> str:
    """Return one entry of the server's list of users."""
    entry: dict[str, Any] = {
        "user": login.user,
        "password": login.password,
        "allowed_connection_types": [login.door],
    }
    if login.publish is not None and login.subscribe is not None:
        entry["permissions"] = {
            "publish": {"allow": login.publish} if login.publish else {"deny": [">"]},
            "subscribe": {"allow": login.subscribe} if login.subscribe else {"deny": [">"]},
        }
    return json.dumps(entry)
