"""A disk of a few megabytes, to be full."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import missing, open_folder


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """Lend a disk of a few megabytes that a server's account can write to."""
    with open_folder() as folder:
        disk = folder / "disk"
        disk.mkdir()
        with mounted(size, disk):
            (disk / "space").mkdir()
            yield disk


@contextmanager
def mounted(size: str, at: Path) -> Iterator[None]:
    """Put a disk of a few megabytes over a folder, whose owner keeps it."""
    owner = at.stat()
    options = f"size={size},mode=0777,uid={owner.st_uid},gid={owner.st_gid}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "cityhub-test", str(at)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        missing("the right to mount a tmpfs", f"run as root ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def fill(file: Path) -> None:
    """Take all that is left of a disk."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as out:
        while out.write(bytes(1 << 16)):
            pass
    assert shutil.disk_usage(file.parent).free < 1 << 14
