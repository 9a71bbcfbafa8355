"""The quarantine bench through the API and the command line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from core.clock import ManualClock
from core.db import Pool
from core.settings import Ingest
from ingest.bench import QuarantineBench
from tests.intake import NOON_MICROS, add_devices, query, take, telemetry, values_of
from tests.serving import NOON, serving

T = NOON_MICROS // 1000
TEXTUAL = b'{"t":%d,"seq":1,"angle":"885"}' % T
MAPPING = {"rename": {"angle": "tilt"}, "scale": {"tilt": 0.1}}


def fill(database: str) -> None:
    add_devices(database, "MH-1", "MH-2")
    several = [telemetry("MH-1", TEXTUAL), telemetry("MH-2", TEXTUAL), telemetry("MH-2", b"{")]
    take(database, [(topic, body.replace(b"angle", b"tilt")) for topic, body in several])
    with psycopg.connect(database) as conn:  # as a maker's other name of the field
        conn.execute(
            "UPDATE hub.quarantine SET payload = %s, payload_length = %s WHERE code = 'wrong_type'",
            [TEXTUAL, len(TEXTUAL)],
        )


def bench(database: str) -> QuarantineBench:
    return QuarantineBench(database, Ingest(), ManualClock(NOON))


async def test_a_group_is_found_understood_tried_and_taken_up(pool: Pool, database: str) -> None:
    fill(database)
    async with serving(pool, database, bench=bench(database)) as client:
        found = (await client.get("/api/v1/quarantine/groups")).json()["items"]
        assert [(g["code"], g["prefix"], g["senders"]) for g in found] == [
            ("wrong_type", "MH", 2),
            ("not_json", "MH", 1),
        ]
        number = found[0]["example"]
        beside = (await client.get(f"/api/v1/quarantine/{number}/comparison")).json()
        marks = {field["key"]: field["mark"] for field in beside["records"][0]["fields"]}
        assert marks["angle"] == "warned"
        tried = await client.post(f"/api/v1/quarantine/{number}/try", json={"mapping": MAPPING})
        assert tried.json()["records"][0]["values"] == {"tilt": 88.5}
        answer = await client.post(
            "/api/v1/quarantine/redrive",
            json={"actor": "wang", "code": "wrong_type", "mapping": MAPPING},
            headers={"Idempotency-Key": "one-redrive"},
        )
        assert answer.status_code == 200, answer.text
        assert (answer.json()["redriven"], answer.json()["stored"]) == (2, 2)
        again = await client.post(
            "/api/v1/quarantine/redrive",
            json={"actor": "wang", "code": "wrong_type", "mapping": MAPPING},
            headers={"Idempotency-Key": "one-redrive"},
        )
        assert again.json() == answer.json()
        gone = await client.post(
            "/api/v1/quarantine/discard",
            json={"actor": "wang", "ids": [3], "reason": "试验", "device": None},
        )
        assert gone.json()["discarded"] == 1
        held = (await client.get("/api/v1/quarantine", params={"state": "discarded"})).json()
        assert held["items"][0]["settled_by"] == "wang"
    assert [tilt for (tilt,) in values_of(database, "tilt")] == [88.5, 88.5]
    assert query(database, "SELECT DISTINCT actor FROM hub.audit") == [("wang",)]


async def test_what_cannot_be_is_refused_with_a_sentence(pool: Pool, database: str) -> None:
    fill(database)
    async with serving(pool, database, bench=bench(database)) as client:
        for path, body, status in (
            ("redrive", {}, 409),
            ("redrive", {"ids": [999]}, 404),
            ("redrive", {"ids": [1], "mapping": {"renames": {}}}, 422),
            ("discard", {"ids": [1]}, 422),
            ("999/try", {}, 404),
        ):
            answer = await client.post(f"/api/v1/quarantine/{path}", json=body)
            assert answer.status_code == status, (path, body, answer.text)
            assert answer.json()["detail_zh"]
        assert (await client.get("/api/v1/quarantine/999/comparison")).status_code == 404
    assert query(database, "SELECT DISTINCT state FROM hub.quarantine") == [("open",)]


def _cityhub(database: str, *arguments: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "cityhub", "quarantine", *arguments],
        env={**os.environ, "CITYHUB_DATABASE_URL": database},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout) if "--json" in arguments else done.stdout


def test_the_same_from_the_command_line(database: str, tmp_path: Path) -> None:
    fill(database)
    file = tmp_path / "mapping.json"
    file.write_text(json.dumps(MAPPING))
    _, groups = _cityhub(database, "groups", "--json")
    assert [group["records"] for group in groups] == [2, 1]
    assert "! angle" in _cityhub(database, "compare", "1")[1]
    _, tried = _cityhub(
        database, "try", "1", "--rename", "angle=tilt", "--scale", "tilt=0.1", "--json"
    )
    assert tried[0]["values"] == {"tilt": 88.5}
    code, done = _cityhub(
        database, "redrive", "--prefix", "MH", "--mapping", str(file), "--actor", "li", "--json"
    )
    assert (code, done["redriven"], len(done["refused"])) == (1, 2, 1)
    code, words = _cityhub(database, "discard", "3", "--reason", "nonsense")
    assert (code, words) == (0, "1 messages discarded\n")
    assert _cityhub(database, "groups")[1] == "nothing is in quarantine\n"
    assert _cityhub(database, "expire", "--days", "0.0001")[1].startswith("3 messages older")


def form_of(page: str, action: str) -> dict[str, str]:
    form = page[page.index(f'action="{action}"') :]
    form = form[: form.index("</form>")]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))


async def test_the_bench_works_without_a_script(pool: Pool, database: str) -> None:
    fill(database)
    hostile = b'{"<script>alert(1)</script>":"\'><img src=x>","tilt":"1"}'
    take(database, [telemetry("MH-2", hostile)], after=3)
    async with serving(pool, database, bench=bench(database)) as client:
        listing = (await client.get("/lite/quarantine")).text
        assert "隔离台" in listing
        assert "MH" in listing
        page = (await client.get("/lite/quarantine/1")).text
        assert "与物模型比对" in page
        assert "物模型中没有该字段" in page
        fields = form_of(page, "/lite/quarantine/1/redrive")
        mapping = {"rename": "angle=tilt", "scale": "tilt=0.1", "offset": ""}
        trial = await client.post(
            "/lite/quarantine/1/redrive", data={**fields, **mapping, "way": "try"}
        )
        assert trial.status_code == 200
        assert "试映射结果" in trial.text
        assert "88.5" in trial.text
        assert values_of(database, "tilt") == []
        wrong = await client.post(
            "/lite/quarantine/1/redrive", data={**fields, "scale": "tilt=x", "way": "try"}
        )
        assert wrong.status_code == 422
        done = await client.post(
            "/lite/quarantine/1/redrive", data={**fields, **mapping, "way": "redrive"}
        )
        assert (done.status_code, done.headers["location"]) == (
            303,
            "/lite/quarantine/1?said=redrive",
        )
        assert "已重新处理" in (await client.get(done.headers["location"])).text
        again = await client.post("/lite/quarantine/1/redrive", data={**fields, **mapping})
        assert again.status_code == 409
        gone = await client.post("/lite/quarantine/3/discard", data={**fields, "reason": "试验"})
        assert gone.status_code == 303
        shown = (await client.get("/lite/quarantine/4?lang=en")).text
        assert "<script>" not in shown
        assert "<img" not in shown
        assert "refused" in shown
        assert (await client.get("/lite/quarantine/999")).status_code == 404
        for number in (2, 4):
            await client.post(
                f"/lite/quarantine/{number}/discard", data={**fields, "reason": "试验"}
            )
        assert "隔离区为空" in (await client.get("/lite/quarantine", params={"lang": "zh"})).text
    assert [tilt for (tilt,) in values_of(database, "tilt")] == [88.5]
