"""Programs started as children that cannot outlive their parent.

A helper that was killed with -9 stops nothing behind it. So each child asks the kernel for a signal
at its parent's death, and leads a session of its own: Ctrl-C in the terminal reaches only the
parent, which stops its children in order.
"""

import ctypes
import errno
import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from core.errors import StartError

_PR_SET_PDEATHSIG: Final = 1
_KEEP_LOG_BYTES: Final = 16 << 20
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Account:
    """Under whose rights a child runs."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """Return the account for servers that refuse to run as root; None where we are not root.

    It is ``nobody``: PostgreSQL's ``initdb`` insists on a name for its uid, and we make no account.

    Raises:
        StartError: The system has no such account.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise StartError(
            "the system has no account 'nobody' to run PostgreSQL under;"
            " start cityhub as an ordinary user, or name a server with CITYHUB_DATABASE_URL"
        ) from error
    return Account(entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How a child is started and stopped.

    Attributes:
        name: What logs and messages call it.
        argv: The command, never with a secret in it: every user can read it.
        log: File that its output is appended to, for its owner only; see :meth:`Child.turn_log`.
        env: Its whole environment; None: the parent's.
        account: Under whose rights; None: the parent's.
        stop_signal: Asks it to end in order, also when the parent dies.
        hard_signal: Ends it when it does not.
        stop_s: How long it may take to end in order, in seconds.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    hard_signal: signal.Signals = signal.SIGKILL
    stop_s: float = 10.0


class Child:
    """A running program that dies with us."""

    def __init__(self, program: Program) -> None:
        """Start it.

        Raises:
            StartError: It cannot be started.
        """
        if threading.current_thread() is not threading.main_thread():
            # The kernel watches the thread that forked: its end would stop the child.
            raise RuntimeError("children are started from the main thread only")
        self.program = program
        account = program.account
        _turn(program.log)
        try:
            with _open_log(program.log) as log:
                self._process = subprocess.Popen(
                    program.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=program.env,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                    start_new_session=True,
                    preexec_fn=_tie(os.getpid(), program.stop_signal),  # noqa: PLW1509 - no
                    # thread of ours holds a lock here, and only system calls run before exec
                )
        except OSError as error:
            raise StartError(f"cannot start {program.name}: {error}") from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> int | None:
        """Return its exit code if it has ended, a negative one after a signal."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Return whether it ended within so many seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """End it: in order if it listens, else hard."""
        stop_all([self])

    def turn_log(self) -> None:
        """Start its log anew where it has grown long, while it runs."""
        _turn(self.program.log)

    def last_words(self, lines: int = 5) -> str:
        """Return the end of its log."""
        try:
            with self.program.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def stop_all(children: Sequence[Child]) -> None:
    """End several at once: ask all, then wait for each, then end hard whoever is left."""
    for child in children:
        child.signal(child.program.stop_signal)
    start = time.monotonic()
    for child in children:
        if not child.wait(max(0.1, child.program.stop_s - (time.monotonic() - start))):
            child.signal(child.program.hard_signal)
            if not child.wait(5):
                child.signal(signal.SIGKILL)
                child.wait(5)


def run(
    argv: Sequence[str], *, account: Account | None = None, timeout: float = 120
) -> tuple[int, str]:
    """Run a short program to its end, tied to us likewise.

    Returns:
        Its exit code and what it said.
    """
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        start_new_session=True,
        timeout=timeout,
        check=False,
        preexec_fn=_tie(os.getpid(), signal.SIGKILL),
    )
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def _tie(parent: int, number: signal.Signals) -> Callable[[], None]:
    """Return what a child does between fork and exec, after it took its uid.

    Taking another uid would clear the wish; and a parent that died before it was uttered is seen by
    the number of the new one.
    """

    def wish() -> None:
        if _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(127)

    return wish


def _open_log(log: Path) -> IO[bytes]:
    """Open a log to append to, closed to all others whatever the umask."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(handle, 0o600)
    return os.fdopen(handle, "ab")


def _turn(log: Path) -> None:
    """Keep one older log beside the present one, so that logs never fill a disk.

    The file is copied and emptied, since its writer holds it open: it appends, so it writes on at
    the new end. A line written between the two is lost.
    """
    try:
        if log.stat().st_size <= _KEEP_LOG_BYTES:
            return
        older = log.with_name(f"{log.name}.1")
        older.unlink(missing_ok=True)
        with log.open("rb") as source, _open_log(older) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        os.truncate(log, 0)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.truncate(log, 0)  # a disk that is full has no room for what was said
