"""The API on a real port, with real clients, and a little city to show."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import psycopg
from psycopg.types.json import Jsonb

from alerts.callbacks import Receipt
from api.actions import Actions
from api.bench import Bench
from api.callbacks import Callbacks
from api.serve import BoundedProtocol, open_socket, page_url, run_serve
from core.clock import Clock, ManualClock
from core.db import Pool
from core.errors import ConflictError, NotFoundError
from core.model import Text
from core.settings import Settings, load_settings

NOON: Final = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)  # noon in the city
TOKEN: Final = "a-token-for-the-tests"


@dataclass(frozen=True, slots=True)
class Done:
    version: int
    event_id: int
    case_no: str | None = None
    window_id: int | None = None


class FakeDesk:
    """The desk's actions; all of them only remember."""

    async def report(self, *, actor: str, source: str, **facts: Any) -> "FiledDone":
        done = await self._do("report", source, actor=actor, **facts)
        return FiledDone(done.version, done.event_id, "FY-20261121-000001")

    async def accept(self, case_no: str, *, actor: str, version: int | None = None) -> Done:
        return await self._do("accept", case_no, actor=actor, version=version)

    async def request_check(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("request_check", case_no, actor=actor, **facts)

    async def confirm(self, case_no: str, *, actor: str, version: int | None = None) -> Done:
        return await self._do("confirm", case_no, actor=actor, version=version)

    async def file_case(self, case_no: str, *, actor: str, version: int | None = None) -> Done:
        return await self._do("file_case", case_no, actor=actor, version=version)

    async def reject(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("reject", case_no, actor=actor, **facts)

    async def void(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("void", case_no, actor=actor, **facts)

    async def merge(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("merge", case_no, actor=actor, **facts)

    async def join(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("join", case_no, actor=actor, **facts)

    async def urge(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("urge", case_no, actor=actor, **facts)

    async def supervise(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("supervise", case_no, actor=actor, **facts)

    async def extend(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("extend", case_no, actor=actor, **facts)

    async def suspend(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("suspend", case_no, actor=actor, **facts)

    async def decide(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("decide", case_no, actor=actor, **facts)

    async def resume(self, case_no: str, *, actor: str, **facts: Any) -> Done:
        return await self._do("resume", case_no, actor=actor, **facts)

    async def _do(self, action: str, target: int | str, **facts: Any) -> Done:
        raise NotImplementedError


@dataclass
class FakeActions(FakeDesk):
    """Actions that only remember. Alarm 404 does not exist; version 1 is always outdated."""

    calls: list[tuple[str, int | str, dict[str, Any]]] = field(default_factory=list)
    wait: asyncio.Event | None = None

    async def acknowledge(self, alarm_id: int, *, actor: str, version: int | None = None) -> Done:
        return await self._do("acknowledge", alarm_id, actor=actor, version=version)

    async def undo_acknowledge(
        self, alarm_id: int, *, actor: str, version: int | None = None
    ) -> Done:
        return await self._do("undo_acknowledge", alarm_id, actor=actor, version=version)

    async def acknowledge_incident(
        self, incident_id: int, *, actor: str, version: int | None = None
    ) -> Done:
        return await self._do("acknowledge_incident", incident_id, actor=actor, version=version)

    async def merge_incidents(
        self,
        incident_id: int,
        *,
        actor: str,
        reason: str,
        others: Sequence[int],
        version: int | None = None,
    ) -> Done:
        facts = {"actor": actor, "reason": reason, "others": others, "version": version}
        return await self._do("merge_incidents", incident_id, **facts)

    async def split_incident(
        self,
        incident_id: int,
        *,
        actor: str,
        reason: str,
        alarms: Sequence[int],
        version: int | None = None,
    ) -> Done:
        facts = {"actor": actor, "reason": reason, "alarms": alarms, "version": version}
        return await self._do("split_incident", incident_id, **facts)

    async def reset_alarm(
        self, alarm_id: int, *, actor: str, reason: str, version: int | None = None
    ) -> Done:
        return await self._do("reset_alarm", alarm_id, actor=actor, version=version, reason=reason)

    async def shelve(
        self,
        alarm_id: int,
        *,
        actor: str,
        reason: str,
        minutes: float,
        once: bool = False,
        version: int | None = None,
    ) -> Done:
        facts = {"reason": reason, "minutes": minutes, "once": once}
        return await self._do("shelve", alarm_id, actor=actor, version=version, **facts)

    async def unshelve(self, alarm_id: int, *, actor: str, version: int | None = None) -> Done:
        return await self._do("unshelve", alarm_id, actor=actor, version=version)

    async def open_window(self, *, actor: str, scope: str, **facts: Any) -> Done:
        return await self._do("open_window", scope, actor=actor, **facts)

    async def end_window(self, window_id: int, *, actor: str, version: int | None = None) -> Done:
        return await self._do("end_window", window_id, actor=actor, version=version)

    async def file(self, alarm_id: int, *, actor: str, version: int | None = None) -> "FiledDone":
        done = await self._do("file", alarm_id, actor=actor, version=version)
        return FiledDone(done.version, done.event_id, "FY-20261121-000001")

    async def dispatch(
        self, case_no: str, *, actor: str, dept: str, version: int | None = None
    ) -> Done:
        return await self._do("dispatch", case_no, actor=actor, version=version, dept=dept)

    async def sign(self, case_no: str, *, actor: str, version: int | None = None) -> Done:
        return await self._do("sign", case_no, actor=actor, version=version)

    async def arrive(self, case_no: str, *, actor: str, version: int | None = None) -> Done:
        return await self._do("arrive", case_no, actor=actor, version=version)

    async def feedback(
        self, case_no: str, *, actor: str, note: str, version: int | None = None
    ) -> Done:
        return await self._do("feedback", case_no, actor=actor, version=version, note=note)

    async def return_(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Done:
        return await self._do("return", case_no, actor=actor, version=version, reason=reason)

    async def verify(
        self, case_no: str, *, actor: str, passed: bool, note: str, version: int | None = None
    ) -> Done:
        return await self._do(
            "verify", case_no, actor=actor, version=version, passed=passed, note=note
        )

    async def resend(self, outbox_id: int, *, actor: str) -> int:
        return (await self._do("resend", outbox_id, actor=actor)).event_id

    async def _do(self, action: str, target: int | str, **facts: Any) -> Done:
        if self.wait is not None:
            await self.wait.wait()
        if target == 404:
            raise NotFoundError("no such alarm")
        if facts.get("version") == 1:
            text = Text("席位2已先行确认", "seat 2 was first: acknowledged")
            raise ConflictError(text, by="席位2", at=NOON)
        self.calls.append((action, target, facts))
        window_id = 3 if action == "open_window" else None
        return Done(version=7, event_id=len(self.calls), window_id=window_id)


class FakeCallbacks:
    """Parks whatever comes, whoever sends it."""

    async def receive(self, receiver: str, headers: Mapping[str, str], body: bytes) -> Receipt:
        del receiver, headers, body
        return Receipt(202, "parked", Text("未知案件", "no such case"))


class FakeBench:
    """A quarantine bench with nothing on it."""

    async def groups(self, *, limit: int = 100) -> list[dict[str, Any]]:
        return [][:limit]

    async def compare(self, quarantine_id: int) -> dict[str, Any]:
        raise NotFoundError(f"there is no message {quarantine_id} in quarantine")

    async def attempt(self, quarantine_id: int, *, mapping: Any = None) -> list[dict[str, Any]]:
        del mapping
        raise NotFoundError(f"there is no message {quarantine_id} in quarantine")

    async def redrive(self, *, actor: str, mapping: Any = None, **chosen: Any) -> dict[str, Any]:
        del actor, mapping, chosen
        return dict.fromkeys(("redriven", "received", "stored", "duplicate", "quarantined"), 0) | {
            "refused": [],
            "last": None,
        }

    async def discard(self, *, actor: str, reason: str, **chosen: Any) -> dict[str, Any]:
        del actor, reason, chosen
        return {"discarded": 0, "refused": [], "last": None}


@dataclass(frozen=True, slots=True)
class FiledDone:
    version: int
    event_id: int
    case_no: str


def api_settings(**api: Any) -> Settings:
    """Return settings for any free port of loopback."""
    return load_settings(environ={}, api={"port": 0} | api)


@asynccontextmanager
async def serving(
    pool: Pool,
    url: str,
    *,
    actions: Actions | None = None,
    bench: Bench | None = None,
    callbacks: Callbacks | None = None,
    clock: Clock | None = None,
    protocol: type[BoundedProtocol] = BoundedProtocol,
    headers: dict[str, str] | None = None,
    **api: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve on a free port, and lend a client of it."""
    settings = api_settings(**api)
    listener = open_socket(settings.api)
    address = page_url(listener)
    task = asyncio.create_task(
        run_serve(
            pool=pool,
            url=url,
            settings=settings,
            clock=clock or ManualClock(NOON),
            actions=actions or FakeActions(),
            bench=bench or FakeBench(),
            callbacks=callbacks or FakeCallbacks(),
            listener=listener,
            protocol=protocol,
        )
    )
    try:
        async with httpx.AsyncClient(
            base_url=address, headers=headers, timeout=20, trust_env=False
        ) as client:
            await until(lambda: not task.done() and listener.fileno() >= 0)
            yield client
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(happened: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something to happen."""
    async with asyncio.timeout(seconds):
        while not happened():
            await asyncio.sleep(0.01)


def append_event(conn: psycopg.Connection[Any], object_id: str = "1", **changes: Any) -> int:
    """Append one entry to the event log in the transaction of ``conn``."""
    entry = {
        "log": "alarm",
        "at": NOON,
        "actor": "hub",
        "object": "alarm",
        "object_id": object_id,
        "action": "raised",
        "from": None,
        "to": "active",
        "reason": None,
        "detail": Jsonb({}),
        **changes,
    }
    row = conn.execute(
        "SELECT hub.append_event(%(log)s, 1::int2, %(at)s, %(actor)s, %(object)s, %(object_id)s,"
        " %(action)s, %(from)s, %(to)s, %(reason)s, %(detail)s)",
        entry,
    ).fetchone()
    assert row is not None
    return int(row[0])


@dataclass(frozen=True, slots=True)
class Heard:
    """One event off the feed; ``event_id`` -1: it has none."""

    event_id: int
    name: str
    data: dict[str, Any]


async def follow(
    client: httpx.AsyncClient, cursor: int | None = None, *, last_id: int | str | None = None
) -> AsyncGenerator[Heard, None]:
    """Follow the entries of the feed as a browser would."""
    async with aclosing(hear_all(client, cursor, last_id=last_id)) as events:
        async for event in events:
            if event.event_id >= 0:
                yield event


async def hear_all(
    client: httpx.AsyncClient, cursor: int | None = None, *, last_id: int | str | None = None
) -> AsyncGenerator[Heard, None]:
    """Follow the feed, figures and touched rows included."""
    params = {} if cursor is None else {"cursor": cursor}
    headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
    async with client.stream("GET", "/api/v1/stream", params=params, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            key, _, value = line.partition(": ")
            if key:
                fields[key] = value
            elif "data" in fields:
                number = int(fields.get("id", "-1"))
                yield Heard(number, fields["event"], json.loads(fields["data"]))
                fields = {}


CITY: Final = """
INSERT INTO hub.department (dept_code, name_zh, name_en, is_street) VALUES
    ('SZ', '市政所', 'Public works', false), ('LD', '路灯所', 'Street lights', false),
    ('JD', '文峰街道办', 'Wenfeng street office', true);
INSERT INTO hub.grid_cell (grid_code, name, dept_code, lon, lat, outline) VALUES
    ('14118200100101', '东大街与府学街口', 'JD', 111.79, 37.26,
     '{"type":"Polygon","coordinates":[[[111.78,37.25],[111.8,37.25],[111.8,37.27],[111.78,37.25]]]}'),
    ('14118200100102', '鼓楼北路', 'JD', 111.8, 37.27, NULL);
INSERT INTO hub.component (component_code, name, grid_code, dept_code, lon, lat)
    VALUES ('1411820102000001', '雨水井盖', '14118200100101', 'SZ', 111.79, 37.26),
           ('1411820102000002', '污水井盖', '14118200100102', 'SZ', 111.80, 37.27);
"""


def settle(database: str) -> None:
    """Fill a city: departments, cells, components, and devices ``MH-0001`` to ``MH-0005``."""
    with psycopg.connect(database) as conn:
        conn.execute(CITY)
        for number in range(1, 6):
            conn.execute(
                "INSERT INTO hub.device (device_id, kind, name, grid_code, dept_code)"
                " VALUES (%s, 'manhole_cover', %s, '14118200100101', 'SZ')",
                [f"MH-{number:04}", f"东大街{number}号井盖"],
            )


def raise_alarm(database: str, device_id: str = "MH-0001", **changes: Any) -> int:
    """Insert one alarm."""
    values: dict[str, Any] = {
        "rule_id": "cover_open",
        "kind": "open",
        "audience": "city",
        "severity": 4,
        "severity_peak": 4,
        "condition_state": "active",
        "latched": True,
        "started_at": NOON - timedelta(seconds=90),
        "raised_at": NOON - timedelta(seconds=88),
        "received_at": NOON - timedelta(seconds=89),
        "last_seen_at": NOON - timedelta(seconds=30),
        "value": 95.0,
        "threshold": 90.0,
        "unit": "deg",
        "explain_zh": "倾角 95° ≥ 90°，井盖已打开或缺失",
        "explain_en": "tilt 95° ≥ 90°: the cover is open or gone",
        "grid_code": "14118200100101",
        **changes,
    }
    names = ", ".join(values)
    places = ", ".join(f"%({name})s" for name in values)
    with psycopg.connect(database) as conn:
        row = conn.execute(
            f"INSERT INTO hub.alarm (device_no, {names}) SELECT device_no, {places}"
            " FROM hub.device WHERE device_id = %(device_id)s RETURNING alarm_id",
            {**values, "device_id": device_id},
        ).fetchone()
    assert row is not None
    return int(row[0])


def file_case(database: str, case_no: str = "FY-20261121-000001", **changes: Any) -> str:
    """Insert one case."""
    values: dict[str, Any] = {
        "case_no": case_no,
        "source": "sensor",
        "category": "component",
        "class_code": "0102",
        "component_code": "1411820102000001",
        "grid_code": "14118200100101",
        "description_zh": "东大街1号井盖：倾角 95° ≥ 90°，井盖已打开或缺失",
        "description_en": "Cover 1 in East Street: tilt 95° ≥ 90°, open or gone",
        "severity": 4,
        "state": "filed",
        "owner_dept": "SZ",
        "reported_at": NOON - timedelta(seconds=80),
        **changes,
    }
    names = ", ".join(values)
    places = ", ".join(f"%({name})s" for name in values)
    with psycopg.connect(database) as conn:
        conn.execute(f"INSERT INTO hub.case ({names}) VALUES ({places})", values)
    return case_no
