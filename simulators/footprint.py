"""What a process takes: memory and file descriptors, as Linux counts them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one process at one moment.

    Attributes:
        pid: Which.
        rss_kb: Memory in RAM, KiB.
        descriptors: Open files and sockets.
    """

    pid: int
    rss_kb: int
    descriptors: int


def footprint(pid: int) -> Footprint:
    """Measure a process of ours.

    Raises:
        ProcessLookupError: There is none.
    """
    folder = Path(f"/proc/{pid}")
    try:
        status = (folder / "status").read_text("utf-8")
        descriptors = sum(1 for _ in (folder / "fd").iterdir())
    except FileNotFoundError as error:
        raise ProcessLookupError(f"there is no process {pid}") from error
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Footprint(pid, int(fields.get("VmRSS", "0 kB").split()[0]), descriptors)
