"""Is the hub well? ``/healthz`` answers people and load balancers, ``/metrics`` Prometheus.

Each check says what is wrong in a sentence. Silence of the devices counts only once a device has
been heard: a hub that waits for its first message is well.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from api.deps import Hub, Parts
from api.figures import DATABASE_UP, State, Tables, age
from api.policy import Policy, allow
from api.reads.alarms import count_alarms
from api.reads.operations import (
    count_devices,
    ledger_totals,
    read_lag,
    read_roles,
    read_sources,
)
from api.routers.operations import INTERVALS, LEDGER_WINDOW
from api.shapes import Instant, Shape, Words
from api.store import Row, look
from core.errors import StoreUnavailableError
from core.metrics import LOG_FULL
from core.presence import (
    SILENT_S,
    Presence,
    Together,
    collect,
    greatest,
    process_name,
    silent_roles,
)
from devices import KINDS

log = logging.getLogger(__name__)

router = APIRouter(tags=["operations"])

LEAST_SILENCE: Final = timedelta(seconds=300)
UNHANDLED: Final = timedelta(seconds=60)
OUTBOX_STUCK: Final = timedelta(minutes=15)
UNCOMMITTED_S: Final = 60.0
_HOUR: Final = 3600.0
_ROLE: Final = "serve"


class CheckShape(Shape):
    """One thing that must be so."""

    name: str
    ok: bool
    detail: Words


class Health(Shape):
    """How the hub does."""

    ok: bool
    at: Instant
    checks: list[CheckShape]


@router.get(
    "/healthz",
    summary="Is the hub well?",
    response_model=Health,
    responses={503: {"model": Health, "description": "Something is wrong; `checks` say what."}},
)
@allow(Policy.PUBLIC)
async def healthz(hub: Hub) -> JSONResponse:
    """Answer 200 if all is well, else 503, with the reasons in both."""
    now = hub.clock.now()
    try:
        checks = [
            _check("database", True, "数据库可用", "the database answers"),
            *judge(await _read_state(hub, now), now),
        ]
    except StoreUnavailableError:
        checks = [_check("database", False, "数据库不可用", "the database does not answer")]
    health = Health(ok=all(check.ok for check in checks), at=now, checks=checks)
    return JSONResponse(health.model_dump(mode="json"), 200 if health.ok else 503)


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
@allow(Policy.STAFF)
async def metrics(hub: Hub) -> Response:
    """Return the figures of all roles, and those that stand in the tables."""
    now = hub.clock.now()
    own = Presence(_ROLE, process_name(), 0.0, collect())
    others: list[Presence] = []
    together = CollectorRegistry()
    up = Gauge(*DATABASE_UP, registry=together)
    try:
        state = await _read_state(hub, now)
        async with look(hub.pool) as lent:
            alarms = await count_alarms(lent)
        up.set(1)
        others = [one for one in state.roles if one.process != own.process]
        together.register(Tables(state, alarms, now))
    except StoreUnavailableError:
        up.set(0)
    together.register(Together([own, *others]))
    return Response(generate_latest(together), headers={"Content-Type": CONTENT_TYPE_LATEST})


def judge(state: State, now: datetime) -> list[CheckShape]:
    """Return the checks of what was read.

    Args:
        state: What was read.
        now: The hub's time.
    """
    lag = state.lag
    heard = any(row["ever_heard"] for row in state.devices)
    allowed = max(LEAST_SILENCE, 3 * _least_interval(state.devices))
    # A minute of the ledger is named by its beginning.
    last = lag["last_minute"]
    quiet = None if last is None else now - last - timedelta(minutes=1)
    flowing = not heard or (quiet is not None and quiet <= allowed)
    seconds = 0 if quiet is None else max(0, round(quiet.total_seconds()))
    waiting = age(lag["oldest_unhandled"], now)
    stuck = age(lag["outbox_oldest"], now)
    dead = lag["outbox_dead"]
    difference = state.ledger["difference"]
    silent = silent_roles(state.roles)
    held = greatest(state.roles, "cityhub_ingest_oldest_unacked_seconds")
    room = greatest(state.roles, "cityhub_log_limit_bytes")
    fill = greatest(state.roles, "cityhub_log_bytes") / room if room else 0.0
    return [
        _check(
            "ingest",
            flowing,
            f"最近一条消息距今 {seconds} 秒" if heard else "尚未收到过消息",
            f"last message {seconds} s ago" if heard else "no message has come yet",
        ),
        _check(
            "intake",
            held <= UNCOMMITTED_S,
            f"最早未入库的消息等待 {round(held)} 秒",
            f"the oldest message not committed waits {round(held)} s",
        ),
        _check(
            "log",
            fill < LOG_FULL,
            f"消息日志已用 {fill:.0%}，满后设备将被拒收并重发",
            f"the log is {fill:.0%} full; a full one refuses devices, which then send again",
        ),
        _check(
            "source",
            bool(state.sources) or not heard,
            f"数据源 {len(state.sources)} 个",
            f"sources known: {len(state.sources)}",
        ),
        _check(
            "alerts",
            waiting <= UNHANDLED,
            f"最早未处理的检测结果等待 {waiting.seconds} 秒",
            f"the oldest finding not handled waits {round(waiting.total_seconds())} s",
        ),
        _check(
            "outbox",
            dead == 0 and stuck <= OUTBOX_STUCK,
            f"死信 {dead} 件，待发 {lag['outbox_waiting']} 件",
            f"dead letters {dead}, waiting {lag['outbox_waiting']}",
        ),
        _check(
            "ledger",
            difference == 0,
            f"账目差额 {difference}",
            f"records unaccounted for: {difference}",
        ),
        _check(
            "roles",
            not silent,
            f"无声的角色：{'、'.join(sorted(silent)) or '无'}",
            f"roles not heard for {SILENT_S:g} s: {', '.join(sorted(silent)) or 'none'}",
        ),
    ]


async def _read_state(hub: Parts, now: datetime) -> State:
    async with look(hub.pool) as lent:
        return State(
            lag=await read_lag(lent),
            devices=await count_devices(lent, now=now, intervals=INTERVALS),
            sources=await read_sources(lent),
            ledger=await ledger_totals(lent, now - LEDGER_WINDOW),
            roles=await read_roles(lent),
        )


def _least_interval(devices: Sequence[Row]) -> timedelta:
    """Return how often the most talkative device that was ever heard should report."""
    seconds = [
        min(
            row["least_interval_s"] or _HOUR,
            KINDS[row["kind"]].interval_s if row["any_default"] and row["kind"] in KINDS else _HOUR,
        )
        for row in devices
        if row["ever_heard"]
    ]
    return timedelta(seconds=min(seconds, default=_HOUR))


def _check(name: str, ok: bool, zh: str, en: str) -> CheckShape:
    return CheckShape(name=name, ok=ok, detail=Words(zh=zh, en=en))
