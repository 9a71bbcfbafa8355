"""Large states of detectors as files: written behind the worker's back, read as memory.

A file is complete or not there: temporary name, fsync, rename. Its name ends in the checksum with
which its bytes begin, and the row of the snapshot names it, so that a file of another time is never
taken for it. Lost files cost what was learnt since the start, never a reading.
"""

import logging
import mmap
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from core.batch import Frozen

log = logging.getLogger(__name__)

_SUFFIX: Final = ".state"
_CHECKSUM_BYTES: Final = 4


def write_state(folder: Path, name: str, state: Frozen | bytes) -> str:
    """Write a state; return the name of its file.

    Args:
        folder: Where; made if it is missing.
        name: How the file's name begins.
        state: The state; before plain bytes goes a checksum.

    Raises:
        OSError: It cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    parts = (
        [zlib.crc32(state).to_bytes(_CHECKSUM_BYTES, "big"), state]
        if isinstance(state, bytes)
        else state.parts()
    )
    final = f"{name}-{bytes(parts[0]).hex()}{_SUFFIX}"
    partial = folder / f"{final}.part"
    try:
        with partial.open("wb", buffering=0) as file:
            for part in parts:
                _write_all(file.fileno(), part)
            os.fsync(file.fileno())
        partial.replace(folder / final)
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        partial.unlink(missing_ok=True)
    return final


def _write_all(file: int, part: bytes | memoryview) -> None:
    left = memoryview(part)
    while left:
        left = left[os.write(file, left) :]


def open_state(folder: Path, name: str, *, frozen: bool) -> memoryview:
    """Return the bytes of a file, read as they are used.

    Args:
        folder: Where it is.
        name: Its name.
        frozen: It was written of a :class:`core.batch.Frozen`, not of bytes.

    Raises:
        ValueError: It is not there, or it is not the one of this name.
    """
    if Path(name).name != name:
        raise ValueError(f"{name!r} is no file name")
    try:
        with (folder / name).open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise ValueError(f"the file {name} cannot be read: {error}") from error
    if not name.endswith(f"-{bytes(view[:_CHECKSUM_BYTES]).hex()}{_SUFFIX}"):
        raise ValueError(f"the file {name} holds another state")
    return view if frozen else view[_CHECKSUM_BYTES:]


def sweep(folder: Path, source: str, keep: Iterable[str]) -> None:
    """Remove a source's files but those to keep."""
    kept = set(keep)
    for path in list(folder.glob(f"{source}.*{_SUFFIX}*")):
        if path.name not in kept:
            path.unlink(missing_ok=True)


def names_of(rows: Sequence[tuple[object, ...]]) -> list[str]:
    """Return the files that rows of a snapshot name; each row's last field, None for none."""
    return [str(row[-1]) for row in rows if row[-1] is not None]
