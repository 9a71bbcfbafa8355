"""A whole hub on one machine: its servers, its roles, and who may enter.

Used by ``cityhub up`` and by its check. Servers that the settings name are used; those they do not
name are started as children below the data folder. Every role is a child, too; what it needs
travels in its environment, since a command line can be read by everybody.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

import psycopg

from cityhub import access
from cityhub.broker import EmbeddedBroker, read_logins
from cityhub.child import Program
from cityhub.folder import DataFolder
from cityhub.ports import LOOPBACK, keep_port
from cityhub.postgres import EmbeddedPostgres
from cityhub.supervisor import Supervisor
from core.db import listen
from core.errors import CityhubError, StartError
from core.migrate import migrate
from core.presence import FORGET_ALL
from core.settings import Settings
from core.tables import make_tables
from devices import KINDS
from devices.secret import load_site_key

STAGES: Final = (
    "simulate",
    "ingest",
    "detect",
    "analyse",
    "alert",
    "dispatch",
    "stand-in",
    "serve",
)
"""What ``--without`` may leave out, in the order of a reading's way."""

_DATABASE_AWAY: Final = "the database does not answer; what waits for it goes on when it does"
_LOOK_S: Final = 0.2
_PAGE_S: Final = 10.0
_ROLE_STOP_S: Final = 5.0


class Hub:
    """A hub that runs between :meth:`start` and :meth:`stop`.

    Args:
        settings: The settings.
        demo: Bring a simulated city and a stand-in for the city-management platform.
        without: Stages to leave out, of :data:`STAGES`.
        say: Takes a word on what is going on.
        environ: The environment of the roles, besides what they need.
        scale: Share of the real number of devices in the simulated city.
        life: Scenes begin by themselves in the simulated city.
        config: The file that the settings came from, for the roles; None: ``CITYHUB_CONFIG``.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        demo: bool = False,
        without: Collection[str] = (),
        say: Callable[[str], None],
        environ: Mapping[str, str] = os.environ,
        scale: float = 1.0,
        life: bool = True,
        config: Path | None = None,
    ) -> None:
        self._settings = settings
        self._demo = demo
        self._without = frozenset(without)
        self._say = say
        self._environ = environ
        self._scale = scale
        self._life = life
        self._complaint = ""
        named = environ.get("CITYHUB_CONFIG")
        self._config = config or (Path(named) if named else None)
        self.folder = DataFolder(settings.data_folder)
        self._postgres: EmbeddedPostgres | None = None
        self._broker: EmbeddedBroker | None = None
        self._supervisor = Supervisor([], say)
        self.site_key = b""
        self.api_port = settings.api.port
        self.database_url = _revealed(settings.database.url)
        self.broker_url = _revealed(settings.broker.url)

    @property
    def api_url(self) -> str:
        """Where the page is."""
        host = self._settings.api.host
        return f"http://{LOOPBACK if host == '0.0.0.0' else host}:{self.api_port}"  # noqa: S104

    @property
    def mqtt_address(self) -> tuple[str, int] | None:
        """Where devices publish; None: nowhere we know of."""
        if self._broker is not None:
            return LOOPBACK, self._broker.mqtt_port
        parts = urlsplit(self.broker_url)
        if parts.scheme == "mqtt" and parts.hostname:
            return parts.hostname, parts.port or 1883
        return None

    @property
    def journal(self) -> Path:
        """Where the stand-in writes what it received."""
        return self.folder.path / "stand-in.jsonl"

    async def start(self) -> None:
        """Start everything and return when the page answers.

        Raises:
            StartError: A sentence on what stands in the way and what to do.
        """
        self.folder.__enter__()
        settings = self._settings
        self.site_key = load_site_key(self.folder.path)
        self.api_port = keep_port(
            settings.api.port,
            self.folder.path / "api.port",
            what="the page",
            setting="CITYHUB_API_PORT",
            host=settings.api.host,
        )
        if not self.database_url:
            self._postgres = EmbeddedPostgres(
                self.folder,
                home=settings.embedded.postgres_home,
                port=settings.embedded.postgres_port,
                say=self._say,
            )
            await self._postgres.start()
            self.database_url = self._postgres.url
        self._prepare_tables()
        if self._demo:
            from cityhub.demo import bring_city

            bring_city(
                self.database_url, self.folder.path, self.site_key, self._say, scale=self._scale
            )
        await self._start_broker()
        self._supervisor = Supervisor(self._programs(), self._say)
        self._supervisor.look()
        access.publish(self.folder.path, self._facts())
        if "serve" not in self._without:
            await self._wait_for_page()

    async def keep(self) -> NoReturn:
        """Keep servers and roles running and the broker's logins as the registry says."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            if self._broker is not None:
                tasks.create_task(self._admit(self._broker))
        raise AssertionError("neither ends by itself")

    def stop(self) -> None:
        """End what was started, in order: roles, broker, database."""
        self._supervisor.stop()
        if self._broker is not None:
            self._broker.stop()
        if self._postgres is not None:
            self._postgres.stop()
        self.folder.__exit__()

    def _prepare_tables(self) -> None:
        if files := migrate(self.database_url):
            self._say(f"database prepared ({len(files)} step{'s' if len(files) > 1 else ''})")
        with psycopg.connect(self.database_url) as conn:
            make_tables(
                conn,
                [kind.table for kind in KINDS.values()],
                time_zone=self._settings.city.time_zone,
            )
            conn.execute(FORGET_ALL)  # the roles of an earlier start are not missed

    async def _start_broker(self) -> None:
        if not self.broker_url:
            self._broker = EmbeddedBroker(self.folder, self._settings.embedded, say=self._say)
            await self._broker.start(await read_logins(self.database_url, self.site_key))
            self.broker_url = self._broker.url
        elif urlsplit(self.broker_url).scheme in {"nats", "tls"}:
            from ingest.sources.log import make_log

            await make_log(self.broker_url)

    def _programs(self) -> list[Program]:
        """Return the roles to run, the senders last in the order of start."""
        common = {
            **self._paths(),
            "CITYHUB_DATA_FOLDER": str(self.folder.path),
            "CITYHUB_DATABASE_URL": self.database_url,
            "CITYHUB_BROKER_URL": self.broker_url,
        }
        programs = []
        dispatch = dict(self._dispatch())
        if self._demo and not self._settings.dispatch.url:
            programs.append(self._stand_in(dispatch, common))
        serving = {"CITYHUB_API_PORT": str(self.api_port)}
        programs += [
            self._program("serve", [], common | dispatch | serving),
            self._program("alert", [], common | dispatch),
            self._program("analyse", [], common),
        ]
        programs.append(self._program("dispatch", [], common | dispatch))
        no_detectors = ["--without-detectors"] if "detect" in self._without else []
        programs.append(self._program("ingest", no_detectors, common))
        if self._demo and self.mqtt_address:
            programs += self._simulator(common)
        return [program for program in programs if program.name not in self._without]

    def _paths(self) -> dict[str, str]:
        """Return the files that roles read themselves; a role runs in another folder than we."""
        named = {
            "CITYHUB_CONFIG": self._config,
            "CITYHUB_BROKER_CA_FILE": self._settings.broker.ca_file,
        }
        return {name: str(path.absolute()) for name, path in named.items() if path}

    def _stand_in(self, dispatch: dict[str, str], common: dict[str, str]) -> Program:
        from cityhub.demo import control_socket

        arguments = [
            *("--port", str(urlsplit(dispatch["CITYHUB_DISPATCH_URL"]).port)),
            *("--journal", str(self.journal)),
            *("--hub", self.api_url),
            *("--simulator", str(control_socket(self.folder.path))),
        ]
        return self._program("stand-in", arguments, common | dispatch)

    def _simulator(self, common: dict[str, str]) -> list[Program]:
        from cityhub.demo import has_city, simulator_arguments

        if not has_city(self.folder.path):
            return []
        door = self._broker.simulator_url if self._broker else self.broker_url
        arguments = ["run", *simulator_arguments(self.folder.path, life=self._life)]
        return [self._program("simulate", arguments, common | {"CITYHUB_BROKER_URL": door})]

    def _dispatch(self) -> dict[str, str]:
        """Return where work orders go, as settings; empty: they stay on the own desk."""
        own = self._settings.dispatch
        if own.url:
            return {
                "CITYHUB_DISPATCH_URL": own.url,
                "CITYHUB_DISPATCH_SECRET": _revealed(own.secret),
            }
        if not self._demo:
            return {}
        port = keep_port(
            0,
            self.folder.path / "stand-in.port",
            what="the stand-in platform",
            setting="CITYHUB_DISPATCH_URL",
        )
        return {
            "CITYHUB_DISPATCH_URL": f"http://{LOOPBACK}:{port}/events",
            "CITYHUB_DISPATCH_SECRET": self.folder.secret("dispatch"),
        }

    def _program(self, name: str, arguments: list[str], extra: dict[str, str]) -> Program:
        return Program(
            name=name,
            argv=[sys.executable, "-m", "cityhub", name, *arguments],
            log=self.folder.logs() / f"{name}.log",
            env={**self._environ, "CITYHUB_LOG_FORMAT": "json", **extra},
            stop_s=_ROLE_STOP_S,
        )

    def _facts(self) -> dict[str, object]:
        door = self.mqtt_address
        return {
            "pid": os.getpid(),
            "database_url": self.database_url,
            "broker_url": self.broker_url,
            "api_url": self.api_url,
            "mqtt_host": door[0] if door else None,
            "mqtt_port": door[1] if door else None,
        }

    async def _wait_for_page(self) -> None:
        """Return when the page's port is open, or after a while with a word."""
        start = time.monotonic()
        host = urlsplit(self.api_url).hostname
        while time.monotonic() - start < _PAGE_S:
            self._supervisor.look()
            try:
                _, writer = await asyncio.open_connection(host, self.api_port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                await writer.wait_closed()
                return
        self._say(f"the page does not answer yet; see {self.folder.path / 'logs' / 'serve.log'}")

    async def _watch(self) -> NoReturn:
        while True:
            await self._revive()
            for server in (self._postgres, self._broker):
                if server is not None and server.child is not None:
                    server.child.turn_log()
            self._supervisor.look()
            await asyncio.sleep(_LOOK_S)

    async def _revive(self) -> None:
        """Start a server again that ended; the roles wait for it by themselves."""
        try:
            if self._postgres is not None and _gone(self._postgres):
                self._say("PostgreSQL ended, starts again")
                await self._postgres.start()
            if self._broker is not None and _gone(self._broker):
                self._say("the broker ended, starts again")
                await self._broker.start(await read_logins(self.database_url, self.site_key))
            if self._broker is not None and await self._broker.is_stuck():
                await self._unstick(self._broker)
        except StartError as error:
            self._complain(f"{error}; trying again")
            await asyncio.sleep(1)
        except psycopg.OperationalError:
            self._complain(_DATABASE_AWAY)
            await asyncio.sleep(1)

    async def _unstick(self, broker: EmbeddedBroker) -> None:
        """Start a broker anew whose disk was full, as soon as there is room."""
        if not broker.has_room():
            self._complain("the disk of the log is full: devices are not acknowledged; make room")
            return
        self._say("the disk of the log has room again, the broker starts anew")
        await asyncio.to_thread(broker.stop)
        await broker.start(await read_logins(self.database_url, self.site_key))

    async def _admit(self, broker: EmbeddedBroker) -> NoReturn:
        """Let in whom the registry names, at each change."""
        async for _ in listen(self.database_url, "hub_device", every=30):
            try:
                broker.let_in(await read_logins(self.database_url, self.site_key))
            except (psycopg.OperationalError, CityhubError):
                self._complain(_DATABASE_AWAY)
            else:
                self._complaint = ""
            await asyncio.sleep(_LOOK_S)
        raise AssertionError("listening never ends")

    def _complain(self, words: str) -> None:
        """Say what is wrong, once until it is well again or something else is wrong."""
        if words != self._complaint:
            self._say(words)
        self._complaint = words


def _gone(server: EmbeddedPostgres | EmbeddedBroker) -> bool:
    return server.child is None or server.child.ended() is not None


def _revealed(secret: object) -> str:
    """Return a secret setting's text, empty where it is unset."""
    reveal = getattr(secret, "get_secret_value", None)
    return str(reveal()) if reveal else ""
