"""What each role runs: its parts, put together from the settings.

Every role is a process of its own, crash-only: it ends by a signal at any moment and finds in the
database where it stood. So none has an orderly end to get wrong.
"""

import asyncio
import shutil
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from cityhub.access import database_url
from cityhub.safety import refuse_unsafe, refuse_unsafe_broker
from core.clock import Clock, ScaledClock, SystemClock
from core.errors import ConfigError
from core.log import start_logging
from core.metrics import DISK_FREE, DISK_SIZE
from core.presence import beside
from core.settings import Settings

if TYPE_CHECKING:
    from alerts.office import Office
    from alerts.receivers import Secrets

_LOOK_S: Final = 60.0


def begin(role: str, settings: Settings) -> None:
    """Start logging for a role."""
    start_logging(role, settings.log.level, settings.log.format)


def enter(role: str, settings: Settings) -> str:
    """Begin a role of the hub; return where its database is.

    Raises:
        ConfigError: No database is named, or a setting is unsafe.
    """
    begin(role, settings)
    url = database_url(settings)
    refuse_unsafe(settings)
    measure_disk(settings.data_folder)
    return url


def ingest(settings: Settings, *, detect: bool = True) -> NoReturn:
    """Take messages from the broker, judge them, and commit.

    Args:
        settings: The settings.
        detect: Run the detectors; without them no finding is made.
    """
    from analytics.stages import build_stages
    from ingest.bench import QuarantineBench
    from ingest.sources.jetstream import JetStreamSource
    from ingest.sources.log_watch import watch_log
    from ingest.worker import run_worker

    async def main() -> NoReturn:
        await refuse_unsafe_broker(settings)
        await run_worker(
            url=url,
            source=source,
            build_stages=stages if detect else lambda _kind, _limits: [],
            settings=settings.ingest,
            clock=SystemClock(),
            states=settings.data_folder / "states",
        )

    stages = partial(build_stages, zone=settings.city.time_zone)
    url = enter("ingest", settings)
    source = make_source(settings, url)
    bench = QuarantineBench(url, settings.ingest, SystemClock())
    watches = [bench.run_expiry(days=settings.ingest.quarantine_days)]
    if isinstance(source, JetStreamSource) and settings.broker.url is not None:
        address = settings.broker.url.get_secret_value()
        watches.append(watch_log(address, source, ca_file=settings.broker.ca_file))
    _run("ingest", url, main(), watches)


def make_source(settings: Settings, url: str) -> Any:
    """Return the source that the broker's URL asks for."""
    from ingest.session import claiming, identifying
    from ingest.sources.jetstream import JetStreamSource
    from ingest.sources.mqtt import MqttSource
    from ingest.sources.replay import ReplaySource

    broker, own = settings.broker, settings.ingest
    if broker.url is None:
        raise ConfigError(
            "no broker is named: set CITYHUB_BROKER_URL (nats://…, tls://…, mqtt://… or mqtts://…),"
            " or start everything with 'cityhub up'"
        )
    address = broker.url.get_secret_value()
    scheme = urlsplit(address).scheme
    if scheme in {"nats", "tls"}:
        return JetStreamSource(
            url=address,
            name=own.source,
            clock=SystemClock(),
            identify=identifying(url, own.source),
            ca_file=broker.ca_file,
            batch=own.batch,
            linger=own.linger_ms / 1000,
        )
    if scheme == "replay":
        return ReplaySource(
            path=Path(unquote(urlsplit(address).path)),
            name=own.source,
            clock=SystemClock(),
            identify=identifying(url, own.source),
            batch=own.batch,
        )
    if scheme in {"mqtt", "mqtts"}:
        return MqttSource(
            url=address,
            name=own.source,
            clock=SystemClock(),
            session=claiming(url, own.source),
            ca_file=broker.ca_file,
            protocol=broker.protocol,
            topic_filter=broker.topic_filter,
            receive_maximum=broker.receive_maximum,
            inflight_limit=broker.inflight_limit,
            session_expiry=broker.session_expiry,
            keep_alive=broker.keep_alive,
            batch=own.batch,
            linger=own.linger_ms / 1000,
        )
    raise ConfigError(
        f"broker.url begins with {scheme}://; it must be nats://, tls://, mqtt:// or mqtts://"
    )


def analyse(settings: Settings) -> NoReturn:
    """Run the slow analytics: silence, neighbours, rivers, shifts, roll-ups, retention."""
    from analytics.likeness import run_likeness
    from analytics.opinion import run_opinion
    from analytics.patrol import run_patrol
    from analytics.retention import keep_of, run_retention
    from analytics.rivers import run_rivers
    from analytics.rollup import run_rollups
    from analytics.rounds import run_rounds
    from analytics.silence import run_sweep
    from core.db import open_pool

    clock, storage = SystemClock(), settings.storage

    async def main() -> NoReturn:
        async with (
            open_pool(url, settings.database.pool_size, name="analyse") as pool,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(run_rollups(pool=pool, clock=clock, every=storage.rollup_s))
            keep = keep_of(storage.days_kept)
            group.create_task(
                run_retention(pool=pool, clock=clock, keep=keep, every=storage.retention_s)
            )
            group.create_task(run_likeness(pool=pool, clock=clock, every=_LOOK_S))
            group.create_task(run_rivers(pool=pool, clock=clock, every=_LOOK_S))
            zone = ZoneInfo(settings.city.time_zone)
            group.create_task(run_rounds(pool=pool, clock=clock, zone=zone, every=_LOOK_S))
            group.create_task(run_patrol(pool=pool, clock=clock, zone=zone, every=_LOOK_S))
            models = settings.data_folder / "models"
            group.create_task(run_opinion(pool=pool, clock=clock, folder=models, every=_LOOK_S))
            await run_sweep(
                pool=pool,
                clock=clock,
                every=settings.alerts.silence_sweep_s,
                grace=settings.alerts.startup_grace_s,
            )

    url = enter("analyse", settings)
    _run("analyse", url, main())


def alert(settings: Settings) -> NoReturn:
    """Make alarms and cases of findings."""
    from alerts.engine import run_engine
    from core.db import open_pool

    async def main() -> NoReturn:
        async with open_pool(url, settings.database.pool_size, name="alert") as pool:
            await run_engine(
                pool=pool,
                url=url,
                clock=SystemClock(),
                connector=connector(settings),
                office=office(settings),
            )

    url = enter("alert", settings)
    _run("alert", url, main())


def dispatch(settings: Settings) -> NoReturn:
    """Deliver to the city-management platform and to the receivers."""
    from alerts.callbacks import CallbackDesk
    from alerts.dispatch_role import run_dispatch
    from core.db import open_pool

    async def main() -> NoReturn:
        clock, secrets = SystemClock(), receiver_secrets(settings)
        ours = replace(office(settings), connector=connector(settings))
        async with open_pool(url, settings.database.pool_size, name="dispatch") as pool:
            await run_dispatch(
                pool=pool,
                url=url,
                settings=settings.dispatch,
                clock=clock,
                secrets=secrets,
                desk=CallbackDesk(pool, clock, secrets=secrets, office=ours),
            )

    url = enter("dispatch", settings)
    _run("dispatch", url, main())


def connector(settings: Settings) -> str | None:
    """Return through which connector work orders leave; None: they stay on the own desk."""
    return "webhook" if settings.dispatch.url else None


def receiver_secrets(settings: Settings) -> "Secrets":
    """Return where the secrets of receivers come from."""
    from alerts.receivers import Secrets
    from devices.secret import load_site_key

    folder, main = settings.data_folder, settings.dispatch.secret
    try:
        site_key = load_site_key(folder, make=False)
    except ConfigError:
        site_key = None  # a role on a machine of its own; said when a receiver needs it
    return Secrets(site_key, folder / "secrets", main.get_secret_value() if main else None)


def office(settings: Settings) -> "Office":
    """Return the command centre's particulars."""
    from alerts.office import Office

    city = settings.city
    return Office(
        prefix=city.case_prefix,
        zone=ZoneInfo(city.time_zone),
        source=f"cityhub/{quote(city.name_en.lower())}",
    )


def serve(settings: Settings) -> None:
    """Serve REST, feed and page."""
    from alerts.actions import StaffActions
    from alerts.callbacks import CallbackDesk
    from api.serve import run_serve
    from core.db import open_pool
    from ingest.bench import QuarantineBench

    async def main() -> None:
        clock = SystemClock()
        async with open_pool(url, settings.database.pool_size, name="serve") as pool:
            await run_serve(
                pool=pool,
                url=url,
                settings=settings,
                clock=clock,
                actions=StaffActions(pool, clock, connector(settings), office=office(settings)),
                bench=QuarantineBench(url, settings.ingest, clock),
                callbacks=CallbackDesk(
                    pool,
                    clock,
                    secrets=receiver_secrets(settings),
                    office=replace(office(settings), connector=connector(settings)),
                ),
            )

    url = enter("serve", settings)
    asyncio.run(beside(main(), role="serve", url=url))


def stand_in(
    settings: Settings, *, port: int, journal: Path, hub_url: str | None, simulator: Path | None
) -> None:
    """Be a city-management platform for demos and tests.

    Args:
        settings: The settings.
        port: Port on loopback.
        journal: Where each delivery is written down.
        hub_url: The hub's API; with it a crew signs for orders and reports back. None: nobody.
        simulator: Control socket of the simulator, where that crew mends things.
    """
    import uvicorn

    from simulators.crew import Crew
    from simulators.platform import create_platform

    begin("stand-in", settings)
    if settings.dispatch.secret is None:
        raise ConfigError("set CITYHUB_DISPATCH_SECRET to the key that the hub signs with")
    token = settings.api.token.get_secret_value() if settings.api.token else None
    app = create_platform(
        secret=settings.dispatch.secret.get_secret_value(),
        journal=journal,
        crew=Crew(hub_url=hub_url, token=token, simulator=simulator) if hub_url else None,
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


def simulate(
    settings: Settings,
    *,
    devices: Path,
    seed: int,
    speed: float,
    truth: Path | None,
    control: Path | None,
    life: bool,
    allow_remote: bool,
) -> None:
    """Be all devices of a generated city, over real MQTT."""
    from simulators.fleet import run_fleet

    begin("simulate", settings)
    if settings.broker.url is None:
        raise ConfigError("set CITYHUB_BROKER_URL to the broker, mqtt://user:password@host:port")
    parts = urlsplit(settings.broker.url.get_secret_value())
    if parts.scheme != "mqtt" or not parts.hostname:
        raise ConfigError(
            "simulated devices need CITYHUB_BROKER_URL=mqtt://user:password@host:port"
        )
    clock: Clock = SystemClock()
    if speed != 1:
        clock = ScaledClock(clock.now(), clock.micros() / 1e6, speed)
    asyncio.run(
        run_fleet(
            broker_host=parts.hostname,
            broker_port=parts.port or 1883,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            clock=clock,
            devices=devices,
            seed=seed,
            speed=speed,
            truth=truth,
            control=control,
            life=life,
            allow_remote=allow_remote,
        )
    )


def measure_disk(folder: Path) -> None:
    """Have the room on a folder's volume measured whenever this process reports."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    DISK_FREE.set_function(lambda: shutil.disk_usage(there).free)
    DISK_SIZE.set_function(lambda: shutil.disk_usage(there).total)


def _run(
    role: str,
    url: str,
    work: Coroutine[Any, Any, NoReturn],
    watches: Sequence[Coroutine[Any, Any, NoReturn]] = (),
) -> NoReturn:
    asyncio.run(beside(work, role=role, url=url, watches=watches))
    raise AssertionError("a role never ends by itself")
