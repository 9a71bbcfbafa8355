"""What each role says of itself every few seconds: that it lives, and its figures.

Roles are processes, on one machine or on several. They write into ``hub.role_status``, and the role
that serves shows all of them on one page of figures. So there is one place to ask, no port a role,
and a role that fell silent is noticed by the age of its row. Ages are by the database's clock.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import psycopg
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import Metric

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0
SILENT_S: Final = 20.0
"""A role of which nothing was heard for so long counts as silent."""

_KEPT_S: Final = 600.0
"""How long the counters of a process that is gone are still shown: its last words matter."""
_CLOSING_S: Final = 1.0
_OURS: Final = "cityhub_"
_PROCESS: Final = frozenset(
    {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"}
)

_SAY: Final = """
INSERT INTO hub.role_status AS r (role, process, started_at, at, figures)
VALUES (%(role)s, %(process)s, clock_timestamp(), clock_timestamp(), %(figures)s)
ON CONFLICT (role, process) DO UPDATE SET at = excluded.at, figures = excluded.figures
"""
_FORGET: Final = "DELETE FROM hub.role_status WHERE at < now() - interval '1 day'"
FORGET_ALL: Final = "DELETE FROM hub.role_status"
"""For whoever starts all roles anew, and perhaps not the same ones."""
SELECT_ROLES: Final = """
SELECT role, process, started_at, figures,
       extract(epoch FROM clock_timestamp() - at)::float8 AS age_s
  FROM hub.role_status ORDER BY role, at DESC
"""

Figures = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Presence:
    """What a process said last.

    Attributes:
        role: Such as ``"ingest"``.
        process: ``host:pid``.
        age_s: Seconds since it said so.
        figures: See :func:`collect`.
    """

    role: str
    process: str
    age_s: float
    figures: Figures

    @property
    def alive(self) -> bool:
        """Whether it said so lately."""
        return self.age_s <= SILENT_S


def process_name() -> str:
    """Return how this process is called among all machines."""
    return f"{socket.gethostname()}:{os.getpid()}"


def collect(registry: CollectorRegistry = REGISTRY) -> Figures:
    """Return the figures of this process: ``{name: {"type", "help", "samples"}}``, JSON."""
    found = {}
    for family in registry.collect():
        if family.name.startswith(_OURS) or family.name in _PROCESS:
            samples = [
                [sample.name, sample.labels, sample.value]
                for sample in family.samples
                if not sample.name.endswith("_created") and math.isfinite(sample.value)
            ]
            found[family.name] = {
                "type": family.type, "help": family.documentation, "samples": samples
            }  # fmt: skip
    return found


async def beside(
    work: Coroutine[Any, Any, T],
    *,
    role: str,
    url: str,
    watches: Iterable[Coroutine[Any, Any, NoReturn]] = (),
) -> T:
    """Do the work of a role and report it until it ends, its last words included.

    Args:
        work: What the role does.
        role: Its name.
        url: libpq URL of the database.
        watches: What else is to run until the work ends.
    """
    companions = [asyncio.create_task(one) for one in (report(role, url), *watches)]
    try:
        return await work
    finally:
        for companion in companions:
            companion.cancel()
        await asyncio.gather(*companions, return_exceptions=True)
        with contextlib.suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                await say(role, url)


async def report(role: str, url: str, *, every: float = EVERY_S) -> NoReturn:
    """Report for ever; while the database is away nobody could read it anyhow."""
    while True:
        try:
            async with await _connect(url) as conn:
                await conn.execute(_FORGET)
                while True:
                    await _write(conn, role)
                    await asyncio.sleep(every)
        except psycopg.Error as error:
            log.debug("cannot report for now", extra={"reason": str(error)})
        await asyncio.sleep(every)


async def say(role: str, url: str) -> None:
    """Report once."""
    async with await _connect(url) as conn:
        await _write(conn, role)


def read_roles(rows: Iterable[Mapping[str, Any]]) -> list[Presence]:
    """Return what :data:`SELECT_ROLES` gave, the youngest of a role first."""
    return [Presence(r["role"], r["process"], r["age_s"], r["figures"]) for r in rows]


def silent_roles(present: Sequence[Presence]) -> dict[str, float]:
    """Return the roles of which no process was heard lately, with the seconds since."""
    ages = youngest(present)
    return {role: age for role, age in ages.items() if age > SILENT_S}


def youngest(present: Sequence[Presence]) -> dict[str, float]:
    """Return the seconds since each role was heard, by whichever of its processes."""
    ages: dict[str, float] = {}
    for one in present:
        ages[one.role] = min(one.age_s, ages.get(one.role, math.inf))
    return ages


def greatest(present: Sequence[Presence], name: str) -> float:
    """Return the greatest value that any living process gives for a figure, 0 if none does."""
    families = (one.figures.get(name, {}) for one in present if one.alive)
    return max((value for one in families for *_, value in one.get("samples", ())), default=0.0)


class Together:
    """The figures of all roles as one, for Prometheus; each sample says whose it is.

    What a process measured (a gauge) is gone with it. What it counted is shown for ten minutes
    more, so that the last count of one that fell is seen.
    """

    def __init__(self, present: Sequence[Presence]) -> None:
        self._present = present

    def collect(self) -> Iterator[Metric]:
        """Yield the figures, as the library asks for them."""
        families: dict[str, Metric] = {}
        for one in self._present:
            for name, family in one.figures.items():
                if not one.alive and (family["type"] == "gauge" or one.age_s > _KEPT_S):
                    continue
                metric = families.setdefault(name, Metric(name, family["help"], family["type"]))
                for sample, labels, value in family["samples"]:
                    whose = {"role": one.role, "process": one.process}
                    metric.add_sample(sample, labels | whose, value)
        yield from families.values()


async def _write(conn: psycopg.AsyncConnection[Any], role: str) -> None:
    figures = json.dumps(collect(), allow_nan=False)
    await conn.execute(_SAY, {"role": role, "process": process_name(), "figures": figures})


async def _connect(url: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        url, autocommit=True, application_name="cityhub presence", connect_timeout=10
    )
