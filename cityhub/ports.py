"""Ports on loopback: free ones, remembered ones, and a sentence for those that are taken."""

import socket
from pathlib import Path
from typing import Final

from cityhub.folder import write_closed
from core.errors import StartError

LOOPBACK: Final = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether one could listen on a port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def take_port(wanted: int, *, what: str, setting: str, host: str = LOOPBACK) -> int:
    """Return the wanted port, or a free one for 0.

    Raises:
        StartError: Another program listens there.
    """
    if wanted == 0:
        return free_port()
    if not is_free(wanted, host):
        raise StartError(
            f"port {wanted} for {what} is in use by another program: stop that one, or set"
            f" {setting} to another port (0: any free one)"
        )
    return wanted


def keep_port(wanted: int, file: Path, *, what: str, setting: str, host: str = LOOPBACK) -> int:
    """Like :func:`take_port`, but for 0 prefer the port of the last start."""
    if wanted == 0:
        wanted = remembered(file)
        if wanted == 0 or not is_free(wanted, host):
            wanted = free_port()
            write_closed(file, f"{wanted}\n")
        return wanted
    return take_port(wanted, what=what, setting=setting, host=host)


def remembered(file: Path) -> int:
    """Return the number that a file keeps, 0 where there is none."""
    try:
        return int(file.read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return 0
