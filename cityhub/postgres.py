"""The hub's own PostgreSQL: a direct child on loopback, with its data below the data folder.

Made with SCRAM and a random password, listening on no socket file. It asks for SIGINT at our death,
which is its fast and clean shutdown, so that kill -9 of the hub leaves neither a server behind nor
a recovery to do. A data folder half made by an interrupted first start is made anew.

The hub owns its database and is no superuser: whoever takes over a role of it neither reads files
of the server nor runs programs there. The superuser only makes that role and the database.
"""

import asyncio
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from cityhub.binaries import POSTGRES, postgres_home
from cityhub.child import Child, Program, run
from cityhub.folder import DataFolder, room_for, write_closed
from cityhub.ports import LOOPBACK, keep_port
from core.errors import StartError

_NAME: Final = "cityhub"
_SUPERUSER: Final = "postgres"
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",  # in the data folder, not in /dev/shm
    "max_wal_size": "2GB",
    "jit": "off",  # statements are short and many
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "cluster_name": _NAME,
}
_PATIENCE_S: Final = 600.0  # a recovery after a power cut may take minutes
_SHUTDOWN_S: Final = 60.0
_TELL_S: Final = 5.0


class EmbeddedPostgres:
    """A PostgreSQL of our own.

    Args:
        folder: The open data folder.
        home: Folder with ``bin/postgres``; None: the wheel's, checked.
        port: Port on loopback; 0: any free one, kept for later starts.
        say: Takes a word on what is going on, for whoever waits.
        tuning: Further settings of the server.
    """

    def __init__(
        self,
        folder: DataFolder,
        *,
        home: Path | None,
        port: int,
        say: Callable[[str], None],
        tuning: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._own = folder.server("postgres")
        self._data = self._own / "data"
        self._home = home
        self._wanted = port
        self._port = 0
        self._say = say
        self._settings = {**_SETTINGS, **(tuning or {})}
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """How the hub reaches its database, with the password."""
        return f"postgresql://{_NAME}:{self._folder.secret('postgres')}@{LOOPBACK}:{self._port}/{_NAME}"

    @property
    def superuser_url(self) -> str:
        """How its superuser reaches the server, with the password."""
        password = self._folder.secret("postgres-superuser")
        return f"postgresql://{_SUPERUSER}:{password}@{LOOPBACK}:{self._port}/postgres"

    @property
    def child(self) -> Child | None:
        """The running server."""
        return self._child

    async def start(self) -> None:
        """Start it, the first time after making its data, and wait until it answers.

        Raises:
            StartError: A sentence on what stands in the way and what to do.
        """
        home = self._home or postgres_home(self._folder.copies)
        major = _major(home)
        self._check_data(major)
        if not self._data.exists():
            self._say("making the database")
            self._make_data(home)
        await self._clear_lock()
        self._port = self._port or keep_port(
            self._wanted,
            self._own / "port",
            what="PostgreSQL",
            setting="CITYHUB_EMBEDDED_POSTGRES_PORT",
        )
        self._child = Child(
            Program(
                name="PostgreSQL",
                argv=[str(home / "bin" / "postgres"), "-D", str(self._data), *self._options()],
                log=self._folder.logs() / "postgres.log",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                account=self._folder.account,
                stop_signal=signal.SIGINT,  # fast: roll back what runs, and end in order
                hard_signal=signal.SIGQUIT,  # immediate: recovers at the next start
                stop_s=30,
            )
        )
        await self._wait()

    def stop(self) -> None:
        """End it in order."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _options(self) -> list[str]:
        options = ["-c", f"port={self._port}"]
        for name, value in self._settings.items():
            options += ["-c", f"{name}={value}"]
        return options

    def _check_data(self, major: int) -> None:
        try:
            found = int((self._data / "PG_VERSION").read_text("ascii"))
        except FileNotFoundError:
            if self._data.exists():
                raise StartError(
                    f"{self._data} holds no PostgreSQL data: move it away, and the hub makes new"
                ) from None
            return
        if found != major:
            raise StartError(
                f"the data in {self._data} were written by PostgreSQL {found}, and this hub brings"
                f" {major}: dump them with a PostgreSQL {found} and restore into a new data folder,"
                f" or name the old programs with {POSTGRES.setting}"
            )

    def _make_data(self, home: Path) -> None:
        """Run initdb into a folder that gets its name only when it is complete."""
        fresh = self._own / "data.new"
        password = self._own / "initdb.password"
        with room_for(fresh):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o700)
            self._folder.give(fresh)
            write_closed(password, self._folder.secret("postgres-superuser"), self._folder.account)
        try:
            code, said = run(
                [
                    str(home / "bin" / "initdb"),
                    f"--pgdata={fresh}",
                    f"--username={_SUPERUSER}",
                    "--auth=scram-sha-256",
                    f"--pwfile={password}",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--locale=C.UTF-8",
                ],
                account=self._folder.account,
            )
        finally:
            password.unlink(missing_ok=True)
        if code != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise StartError(self._explain(said))
        fresh.rename(self._data)

    async def _clear_lock(self) -> None:
        """Wait for a server that is still shutting down, and drop a lock whose holder is gone.

        PostgreSQL itself only looks whether a process of that number lives, and after a reboot that
        may be anyone. We hold the folder's lock, so no other hub can be behind it.
        """
        path = self._data / "postmaster.pid"
        start = time.monotonic()
        while (pid := _read_pid(path)) is not None and _works_in(pid, self._data):
            if time.monotonic() - start > _SHUTDOWN_S:
                raise StartError(
                    f"an older PostgreSQL (process {pid}) still uses {self._data}: end it with"
                    f" kill -INT {pid} and start again"
                )
            if time.monotonic() - start > _TELL_S:
                self._say("waiting for the database's last shutdown to end")
            await asyncio.sleep(0.1)
        path.unlink(missing_ok=True)

    async def _wait(self) -> None:
        """Return once the server answers and has our database."""
        assert self._child is not None  # noqa: S101 - start() made it
        start = told = time.monotonic()
        address = make_conninfo(self.superuser_url, connect_timeout=2)
        while True:
            if self._child.ended() is not None:
                words = self._child.last_words()
                self._child = None
                raise StartError(self._explain(words))
            try:
                with psycopg.connect(address, autocommit=True) as conn:
                    _make_database(conn, self._folder.secret("postgres"))
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    self.stop()
                    secret = self._folder.path / "secrets" / "postgres-superuser"
                    raise StartError(
                        f"the password in {secret} is not that of the database: restore the file"
                        " from a backup"
                    ) from error
            else:
                return
            now = time.monotonic()
            if now - start > _PATIENCE_S:
                self.stop()
                raise StartError(
                    f"PostgreSQL did not answer within {_PATIENCE_S:.0f} s; its log is"
                    f" {self._folder.path / 'logs' / 'postgres.log'}"
                )
            if now - told > _TELL_S:
                told = now
                self._say(f"waiting for the database ({now - start:.0f} s)")
            await asyncio.sleep(0.03)

    def _explain(self, words: str) -> str:
        """Return a sentence on why the server did not start, from what it said itself."""
        if "No space left on device" in words:
            return f"the disk of {self._own} is full: PostgreSQL cannot start; make room on it"
        if "could not bind" in words or "Address already in use" in words:
            return (
                f"port {self._port} for PostgreSQL is in use by another program: stop that one, or"
                " set CITYHUB_EMBEDDED_POSTGRES_PORT to another port (0: any free one)"
            )
        reasons = re.findall(r"(?:FATAL|PANIC|error):\s*(.+)", words)
        reason = reasons[-1] if reasons else (words.splitlines() or ["it said nothing"])[-1]
        return (
            f"PostgreSQL did not start ({reason}); its log is"
            f" {self._folder.path / 'logs' / 'postgres.log'}"
        )


def _major(home: Path) -> int:
    program = home / "bin" / "postgres"
    try:
        _, said = run([str(program), "--version"])
    except OSError as error:
        raise StartError(f"cannot run {program}: {error.strerror}") from error
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    if not found:
        raise StartError(f"{program} is no PostgreSQL server: it says {said[:80]!r}")
    return int(found[1])


def _make_database(conn: psycopg.Connection[tuple[object, ...]], password: str) -> None:
    """Make the hub's role and its database where they are missing."""
    name = sql.Identifier(_NAME)
    if conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [_NAME]).fetchone() is None:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, password))
    if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_NAME]).fetchone() is None:
        conn.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text("utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _works_in(pid: int, folder: Path) -> bool:
    """Return whether a process has the folder as its working directory, as a postmaster has."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False
