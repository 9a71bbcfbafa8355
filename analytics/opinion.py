"""The slow role that asks a trained forest for a second opinion (二次判定).

Every few minutes it takes the newest reading of each device of a kind with a trained model, keeps
those beyond the distance that 95 of 100 training rows stay under, and lets the forest score them.
Who is odder than 99 of 100 training rows in two readings running is told, for ranking only.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import numpy as np
from psycopg import sql

from analytics.forest import ClassForest, read_model
from analytics.slow import count, is_holder, recall, remember, repeat, store_findings
from analytics.training import watch_of
from core.batch import Finding
from core.clock import Clock
from core.db import Connection, Pool, transaction
from core.errors import CityhubError
from core.model import Edge, Text, to_micros
from devices.class_model import UNLIKE_CLASS, ClassModel
from devices.kind import DeviceKind

log = logging.getLogger(__name__)

ROLE: Final = "opinion"
_VERSION: Final = 1
_LOCK: Final = 1129270363
_ROWS: Final = 2  # odd readings in a row that are told, and sound ones that end it

SELECT_MODELS: Final = """
SELECT DISTINCT ON (kind) kind, model_hash, features, file_name FROM hub.model
 WHERE state = 'active' ORDER BY kind, trained_at DESC
"""
SELECT_NEWEST: Final = sql.SQL("""
SELECT d.device_no, l.ts, {features} FROM hub.device d JOIN {latest} l USING (device_no)
 WHERE d.state = 'active' AND l.ts > %(since)s - interval '1 hour' AND {whole} AND {when}
 ORDER BY d.device_no
""")


class _Case(msgspec.Struct):
    ts: int
    odd: int = 0
    calm: int = 0
    told: int = 0
    """When it was told, microseconds; 0: it was not."""


class Memory(msgspec.Struct):
    """Readings already judged, by number of the device."""

    cases: dict[int, _Case] = {}


class Opinions:
    """Forests that were read, by hash.

    Args:
        folder: Where models are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, ClassForest | None] = {}

    def forest(self, digest: str, file_name: str) -> ClassForest | None:
        """Return a model, or None where its file cannot be trusted, which is logged once."""
        if digest not in self._known:
            try:
                self._known[digest] = read_model(self._folder / Path(file_name).name, digest)
            except CityhubError as error:
                log.warning("no second opinion", extra={"reason": str(error)})
                self._known[digest] = None
        return self._known[digest]


async def run_opinion(*, pool: Pool, clock: Clock, folder: Path, every: float) -> NoReturn:
    """Ask for ever, ``every`` so many seconds."""
    opinions = Opinions(folder)
    await repeat("asking the forest", lambda: ask(pool, clock, opinions), every)


async def ask(pool: Pool, clock: Clock, opinions: Opinions) -> list[Finding] | None:
    """Make one pass.

    Returns:
        What was found, or None where another process is at it.
    """
    async with transaction(pool) as conn:
        if not await is_holder(conn, _LOCK):
            return None
        memory = await recall(conn, ROLE, _VERSION, Memory, Memory())
        findings: list[Finding] = []
        for kind_name, digest, features, file_name in await (
            await conn.execute(SELECT_MODELS)
        ).fetchall():
            forest = opinions.forest(digest, file_name)
            kind, watch = watch_of(kind_name)
            if forest is not None and tuple(features) == watch.features:
                findings += await _judge(
                    conn, kind, watch, model=(digest, forest), memory=memory, clock=clock
                )
        await store_findings(conn, findings)
        await remember(conn, ROLE, _VERSION, memory, clock.micros())
    count(findings)
    return findings


async def _judge(
    conn: Connection,
    kind: DeviceKind,
    watch: ClassModel,
    *,
    model: tuple[str, ClassForest],
    memory: Memory,
    clock: Clock,
) -> list[Finding]:
    digest, forest = model
    query = SELECT_NEWEST.format(
        features=sql.SQL(", ").join(
            sql.SQL("l.{}::float8").format(sql.Identifier(name)) for name in watch.features
        ),
        latest=sql.Identifier("hub", f"latest_{kind.name}"),
        whole=sql.SQL(" AND ").join(
            sql.SQL("l.{} IS NOT NULL").format(sql.Identifier(name)) for name in watch.features
        ),
        when=sql.SQL("l.{} >= 0.5").format(sql.Identifier(watch.when))
        if watch.when
        else sql.SQL("true"),
    )
    rows = await (await conn.execute(query, {"since": clock.now()})).fetchall()
    fresh = [r for r in rows if memory.cases.get(r[0], _Case(0)).ts < to_micros(r[1])]
    if not fresh:
        return []
    x = np.array([row[2:] for row in fresh], np.float64)
    distance = forest.distance(x)
    beyond = np.flatnonzero(distance > forest.far)
    score = np.zeros(len(x))
    score[beyond] = forest.score(x[beyond])
    found = []
    for n, row in enumerate(fresh):
        figures = {"distance": float(distance[n]), "score": float(score[n]), "model": digest}
        finding = _follow(memory, row[0], to_micros(row[1]), figures, float(forest.odd))
        if finding is not None:
            found.append(finding)
    return found


def _follow(
    memory: Memory, device_no: int, ts: int, figures: Mapping[str, Any], limit: float
) -> Finding | None:
    """Take one judged reading; return what is told or over."""
    case = memory.cases.setdefault(device_no, _Case(ts))
    case.ts = ts
    is_odd = figures["score"] > limit
    case.odd = case.odd + 1 if is_odd else 0
    case.calm = 0 if is_odd else case.calm + 1
    if not case.told and case.odd >= _ROWS:
        case.told = ts
        explain = Text(
            f"与同类设备不同：距离 {figures['distance']:.1f}，孤立森林得分 {figures['score']:.2f}",
            f"unlike its class: distance {figures['distance']:.1f}, score of the forest"
            f" {figures['score']:.2f}",
        )
        return _finding(device_no, ts, ts, Edge.OPEN, explain=explain, figures=figures, limit=limit)
    if case.told and case.calm >= _ROWS:
        began, case.told = case.told, 0
        explain = Text("已与同类设备一致", "like its class again")
        return _finding(
            device_no, ts, began, Edge.CLEAR, explain=explain, figures=figures, limit=limit
        )
    return None


def _finding(
    device_no: int,
    ts: int,
    first_ts: int,
    edge: Edge,
    *,
    explain: Text,
    figures: Mapping[str, Any],
    limit: float,
) -> Finding:
    return Finding(
        device_no=device_no,
        rule_id=UNLIKE_CLASS.rule_id,
        detector="forest",
        kind="class",
        edge=edge,
        ts=ts,
        first_ts=first_ts,
        received_at=ts,
        severity=UNLIKE_CLASS.severity,
        explain=explain,
        limit=limit,
        score=figures["score"],
        detail={"feature": "class", "model": figures["model"], "distance": figures["distance"]},
    )
