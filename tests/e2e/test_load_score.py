"""``cityhub simulate load`` and ``score``: a maintainer can judge a real site."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.faults.office import open_office
from tests.e2e.faults.site import Site, open_nats
from tests.intake import query
from tests.servers import Nats


def run(site: Site, nats: Nats, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("CITYHUB_")},
        "CITYHUB_DATABASE_URL": site.database,
        "CITYHUB_BROKER_URL": nats.simulator_url,
    }
    return subprocess.run(
        [sys.executable, "-m", "cityhub", "simulate", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(site: Site, nats: Nats, *arguments: str) -> tuple[int, Any]:
    done = run(site, nats, "score", str(site.ledger), "--json", *arguments)
    return done.returncode, json.loads(done.stdout)


async def test_a_site_is_loaded_and_judged_from_the_command_line(
    database: str, nats: Nats, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    site, feed = Site(database, open_nats(nats), tmp_path, request.node), tmp_path / "witness"
    load = ["load", str(site.ledger), "--devices=5", "--messages=500", "--rate=1000", "--thefts=2"]
    async with open_office(database, tmp_path) as office:
        with site.running(site.role()) as role:
            api = f"--api={office.api_url}"
            done = await asyncio.to_thread(run, site, nats, *load, f"--feed={feed}", api)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("500 readings acknowledged")
            await site.settled(role, 500)
    assert len(feed.read_text("ascii").split()) >= 4, "two alarms and their cases"
    code, score = told(site, nats, f"--feed={feed}")
    assert (code, score["sound"], score["acked"], score["stored"]) == (0, True, 500, 500)
    assert {verdict["letter"] for verdict in score["verdicts"]} >= set("LDOBACF")
    ids = feed.read_text("ascii").split()
    feed.write_text("\n".join(ids[:2] + ids[3:]), "ascii")
    code, score = told(site, nats, f"--feed={feed}")
    assert (code, score["sound"]) == (1, False)
    with psycopg.connect(database) as conn:
        conn.execute(
            "DELETE FROM hub.reading_manhole_cover WHERE device_no = (SELECT device_no"
            " FROM hub.device WHERE device_id = 'LOAD-MH-0003') AND seq % 50 = 0"
        )
    lost = 500 - query(database, "SELECT count(*)::int FROM hub.reading_manhole_cover")[0][0]
    code, score = told(site, nats)
    assert (code, score["sound"]) == (1, False)
    assert score["verdicts"][0]["breaches"] == lost > 0
    assert "UNSOUND" in run(site, nats, "score", str(site.ledger)).stdout


def test_a_file_that_is_no_ledger_is_one_sentence(
    database: str, nats: Nats, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    site = Site(database, open_nats(nats), tmp_path, request.node)
    done = run(site, nats, "score", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such file" in done.stderr
