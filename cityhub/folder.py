"""The data folder: everything that ``cityhub up`` owns lies below it, and nothing outside changes.

One hub a folder, by a lock the kernel drops when its holder dies. Secrets are files of mode 0600.
For an ordinary user the folder is closed to all others. For root it may be passed through, no
more: the servers below run as an account without rights and must reach their own, closed folders.
"""

import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from cityhub.child import Account, unprivileged
from core.errors import StartError

_ROOM_BYTES: Final = 500_000_000
_PASS_THROUGH: Final = 0o711
_CLOSED: Final = 0o700


class DataFolder:
    """A data folder that is ours while it is open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.account = unprivileged()
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Make it where it is missing, and lock it.

        Raises:
            StartError: It cannot be made, reached or locked, or its disk is full.
        """
        with room_for(self.path):
            if not self.path.exists():
                self.path.mkdir(parents=True, mode=_CLOSED)
            if not any(self.path.iterdir()):  # a folder with other things in it stays as it is
                self.path.chmod(_PASS_THROUGH if self.account else _CLOSED)
        if self.account:
            _check_way(self.path, self.account)
        _check_room(self.path)
        self._lock = self._take_lock()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def copies(self) -> Path | None:
        """Where server programs are copied to; None: they can run where they lie."""
        return self.path / "programs" if self.account else None

    def server(self, name: str) -> Path:
        """Return the folder of a server, made where it is missing.

        Its files belong to us; the server gets folders of its own inside (:meth:`give`).
        """
        return self._make(self.path / name, _PASS_THROUGH if self.account else _CLOSED)

    def logs(self) -> Path:
        """Return the folder of the logs, made where it is missing."""
        return self._make(self.path / "logs", _CLOSED)

    def _make(self, path: Path, mode: int) -> Path:
        with room_for(path):
            if not path.exists():
                path.mkdir(mode=mode)
                path.chmod(mode)  # whatever the umask
        return path

    def give(self, path: Path, mode: int = _CLOSED) -> Path:
        """Give a file or folder to the servers' account, closed to all others."""
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)
        path.chmod(mode)
        return path

    def secret(self, name: str) -> str:
        """Return a secret of 256 random bits, made at first use."""
        path = self._make(self.path / "secrets", _CLOSED) / name
        if not path.exists():
            write_closed(path, secrets.token_urlsafe(32))
        return path.read_text("ascii").strip()

    def _take_lock(self) -> int:
        path = self.path / "lock"
        with room_for(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(handle)
        except OSError as error:
            holder = os.read(handle, 32).decode("ascii", "replace").strip()
            os.close(handle)
            raise StartError(
                f"another cityhub (process {holder or 'unknown'}) uses the data folder {self.path}:"
                " stop that one, or give this one a folder with CITYHUB_DATA_FOLDER"
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        return handle


def _lock(handle: int) -> None:
    """Take the lock; who merely looks whether it is held has it for a moment."""
    for _ in range(5):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_closed(path: Path, text: str, account: Account | None = None) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = path.with_name(f".{path.name}.new")
    with room_for(path):
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if account:
            os.chown(partial, account.uid, account.gid)
        partial.replace(path)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Say in a sentence why something cannot be written.

    Raises:
        StartError: It cannot.
    """
    try:
        yield
    except (OSError, shutil.Error) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error):
            raise StartError(_full(path)) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StartError(
            f"cannot write {path} ({reason}): give the hub another data folder with"
            " CITYHUB_DATA_FOLDER"
        ) from error


def _full(path: Path) -> str:
    return (
        f"the disk of {path} is full: the hub needs {_ROOM_BYTES // 1_000_000} MB to start;"
        " make room, or name a folder on another disk with CITYHUB_DATA_FOLDER"
    )


def _check_room(path: Path) -> None:
    if shutil.disk_usage(path).free < _ROOM_BYTES:
        raise StartError(_full(path))


def _check_way(path: Path, account: Account) -> None:
    """Check that the servers' account can pass through every folder on the way."""
    for folder in reversed((path, *path.parents)):
        status = folder.stat()
        mode = status.st_mode
        if status.st_uid == account.uid:
            passable = mode & stat.S_IXUSR
        elif status.st_gid == account.gid:
            passable = mode & stat.S_IXGRP
        else:
            passable = mode & stat.S_IXOTH
        if not passable:
            raise StartError(
                f"run by root, the servers use the account 'nobody', which cannot pass through"
                f" {folder}: name a data folder that it can reach, such as"
                " CITYHUB_DATA_FOLDER=/var/lib/cityhub"
            )
