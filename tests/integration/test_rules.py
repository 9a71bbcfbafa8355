"""Rules changed through API and command line: versions, history, undo, audit, and live effect."""

import asyncio
import json
from typing import Any

import httpx
import psycopg
import pytest

from analytics.stages import build_stages
from cityhub.cli import main
from core.batch import Finding
from core.clock import ManualClock
from core.db import Pool, transaction
from core.model import Edge, Severity, Text
from devices import KINDS
from devices.native import encode_record
from devices.registry import Registry, register
from devices.rule_store import By, Target, put_rule, stamp
from ingest.sources.memory import MemorySource
from tests.intake import NOON, query, running_worker
from tests.serving import serving

PATH = "/api/v1/rules/manhole_cover/cover_flooded"


def change(body: dict[str, Any], reason: str = "汛期", **more: Any) -> dict[str, Any]:
    return {"body": body, "reason": reason, "actor": "席位1", **more}


@pytest.fixture(autouse=True)
def cover(database: str) -> None:
    with psycopg.connect(database) as conn:
        register(conn, "MH-0001", "manhole_cover")


async def test_a_change_is_a_new_version_with_author_reason_and_audit(
    pool: Pool, database: str
) -> None:
    async with serving(pool, database) as client:
        answer = await client.put(f"{PATH}/kind", json=change({"orange": 0.5, "hold": 3}))
        shown = (await client.get(PATH)).json()
        history = (await client.get(f"{PATH}/history")).json()["items"]
    assert (answer.status_code, answer.json()["version"], answer.headers["etag"]) == (200, 2, '"2"')
    fields = {field["name"]: field for field in shown["fields"]}
    assert (fields["orange"]["value"], fields["orange"]["scope"]) == (0.5, "kind")
    assert (fields["orange"]["shipped"], fields["red"]["scope"]) == (0.3, "default")
    assert fields["orange"]["allowed"]["en"] == "0 to 20 m or null"
    assert [(row["version"], row["author"], row["reason"]) for row in history] == [
        (2, "席位1", "汛期")
    ]
    assert audited(database) == [("席位1", "rule_set", f"{NAME}/kind", "done")]


NAME = "manhole_cover/cover_flooded"


def audited(database: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as conn:
        return conn.execute(
            "SELECT actor, action, object_id, outcome FROM hub.audit WHERE object = 'rule'"
            " ORDER BY audit_id"
        ).fetchall()


async def test_undo_brings_back_what_the_scope_said_before_and_keeps_the_history(
    pool: Pool, database: str
) -> None:
    async with serving(pool, database) as client:
        await client.put(f"{PATH}/kind", json=change({"orange": 0.5}))
        await client.put(f"{PATH}/device:MH-0001", json=change({"orange": 0.6}))
        await client.put(f"{PATH}/kind", json=change({"orange": 0.7}))
        undone = [
            (await client.post(f"{PATH}/kind/undo", json={"reason": "误改"})).json()
            for _ in range(2)
        ]
        own = (await client.get(PATH, params={"device": "MH-0001"})).json()
        history = (await client.get(f"{PATH}/history", params={"scope": "kind"})).json()["items"]
        nothing = await client.post(f"{PATH}/class:0102/undo", json={"reason": "误改"})
    assert [(each["version"], each["body"]) for each in undone] == [
        (5, {"orange": 0.5}),
        (6, {"orange": 0.7}),
    ]
    assert next(f["value"] for f in own["fields"] if f["name"] == "orange") == 0.6
    assert own["scopes"] == ["device:MH-0001", "kind"]
    assert [(row["version"], row["undoes"]) for row in history] == [
        (6, 5), (5, 4), (4, None), (2, None),
    ]  # fmt: skip
    assert nothing.status_code == 409


async def test_whoever_saw_an_older_version_is_told_who_was_first(
    pool: Pool, database: str
) -> None:
    async with serving(pool, database) as client:
        seen = {"If-Match": '"1"', "Idempotency-Key": "rule-0001"}
        first = await client.put(f"{PATH}/kind", json=change({"hold": 3}), headers=seen)
        again = await client.put(f"{PATH}/kind", json=change({"hold": 3}), headers=seen)
        late = await client.put(
            f"{PATH}/kind", json=change({"hold": 9}), headers={"If-Match": '"1"'}
        )
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert (late.status_code, late.json()["by"]) == (409, "席位1")
    assert audited(database)[-1][3] == "refused"


@pytest.mark.parametrize(
    ("scope", "body", "status", "says"),
    [
        ("kind", {"orange": 25}, 422, "orange cannot be 25; it must be: 0 to 20 m or null"),
        ("kind", {"colour": 1}, 422, "cover_flooded has no field 'colour'"),
        ("street", {"hold": 1}, 422, "there is no scope 'street'"),
        ("grid:1", {"hold": 1}, 404, "there is no grid cell '1'"),
        ("device:MH-9", {"hold": 1}, 404, "there is no device 'MH-9'"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    pool: Pool, database: str, *, scope: str, body: dict[str, Any], status: int, says: str
) -> None:
    async with serving(pool, database) as client:
        answer = await client.put(f"{PATH}/{scope}", json=change(body))
        history = (await client.get(f"{PATH}/history")).json()["items"]
    assert (answer.status_code, history) == (status, [])
    assert answer.json()["detail"].startswith(says)
    assert answer.json()["detail_zh"]


async def test_no_reason_no_change(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        refused = [
            await client.put(f"{PATH}/kind", json={"body": {"hold": 2}}),
            await client.put(f"{PATH}/kind", json=change({"hold": 2}, reason="  ")),
        ]
        missing: httpx.Response = await client.get("/api/v1/rules/manhole_cover/nothing")
    assert [each.status_code for each in refused] == [422, 422]
    assert missing.status_code == 404


def test_the_history_of_rules_is_append_only(database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO hub.alarm_rule (kind, rule_id, scope, version, body, valid_from, author,"
            " reason) VALUES ('manhole_cover', 'cover_open', 'kind', 2, '{}', now(), 'a', 'b')"
        )
        conn.commit()
        for statement in ("UPDATE hub.alarm_rule SET version = 3", "DELETE FROM hub.alarm_rule"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                conn.execute(statement)
            conn.rollback()


def test_the_command_line_changes_shows_and_takes_back(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CITYHUB_DATABASE_URL", database)
    monkeypatch.setenv("CITYHUB_API_HOST", "127.0.0.1")
    rule = ("manhole_cover", "cover_flooded")
    assert main(["rule", "set", *rule, "orange=0.5", "hold=3", "--reason", "汛期"]) == 0
    assert main(["rule", "set", *rule, "hold=-", "enabled=false", "--reason", "检修"]) == 0
    capsys.readouterr()
    assert main(["rule", "show", *rule, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    fields = {field["name"]: field["value"] for field in shown["fields"]}
    assert (shown["version"], fields["orange"], fields["hold"], fields["enabled"]) == (
        3, 0.5, 2, False,
    )  # fmt: skip
    assert main(["rule", "undo", *rule, "--reason", "检修结束"]) == 0
    assert main(["rule", "history", *rule]) == 0
    assert "takes back v3" in capsys.readouterr().out
    assert main(["rule", "list", "--kind", "manhole_cover"]) == 0
    assert "kind: hold=3 orange=0.5" in capsys.readouterr().out
    assert main(["rule", "set", *rule, "orange=25", "--reason", "x"]) == 1
    assert "orange cannot be 25; it must be: 0 to 20 m or null" in capsys.readouterr().err


async def test_a_running_worker_hears_of_a_change_in_a_second_and_forgets_nothing(
    pool: Pool, database: str
) -> None:
    """The rule comes to want three in a row: the third opens, for the first still counts."""
    clock = ManualClock(NOON)
    source = MemorySource(name="test", clock=clock)

    async def breach(number: int) -> None:
        clock.advance(3600)
        body = encode_record(
            KINDS["manhole_cover"], {"wlvl": 0.1}, ts_micros=clock.micros(), seq=number
        )
        await source.publish(b"hub/MH-0001/telemetry", body)
        async with asyncio.timeout(30):
            await source.drained()

    def opened() -> list[tuple[Any, ...]]:
        return query(database, "SELECT rule_version, ts FROM hub.finding WHERE edge = 'open'")

    async with (
        running_worker(database, source, clock, build_stages=build_stages),
        serving(pool, database) as client,
    ):
        await breach(1)
        await client.put(f"{PATH}/kind", json=change({"hold": 3}))
        await asyncio.sleep(1)
        await breach(2)
        assert opened() == []
        await breach(3)
        assert [version for version, _ in opened()] == [2]


async def test_findings_of_slow_roles_carry_version_and_rank_of_their_rule(
    pool: Pool, database: str
) -> None:
    target = Target(kind="manhole_cover", rule_id="offline", scope="device:MH-0001")
    by = By(actor="席位1", at=NOON, reason="重点井盖")
    await put_rule(pool, target, {"severity": "yellow"}, by)
    [number] = query(database, "SELECT device_no FROM hub.device")[0]
    lost = Finding(
        device_no=number,
        rule_id="offline",
        detector="silence",
        kind="lost",
        edge=Edge.OPEN,
        ts=0,
        first_ts=0,
        received_at=0,
        severity=Severity.BLUE,
        explain=Text("失联", "lost"),
    )
    async with transaction(pool) as conn:
        [stamped] = await stamp(conn, [lost])
    assert (stamped.rule_version, stamped.severity) == (2, Severity.YELLOW)


async def test_a_registry_that_loads_again_takes_the_change_over(pool: Pool, database: str) -> None:
    registry = Registry()
    with psycopg.connect(database) as conn:
        registry.load(conn)
        limits, number = registry.limits, registry.by_id["MH-0001"].device_no
        assert number not in limits
        async with serving(pool, database) as client:
            await client.put(f"{PATH}/class:0102", json=change({"orange": 0.5}))
        registry.load(conn)
    assert registry.limits is limits
    assert limits[number]["wlvl"]["orange"] == 0.5
    assert registry.rules.version("cover_flooded", registry.by_no[number]) == 2
