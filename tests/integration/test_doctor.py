"""``cityhub doctor`` and row 31: what only a running broker or database can tell."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import nats as nats_py
import psycopg
import pytest

from cityhub.doctor import Finding, examine
from cityhub.ports import free_port
from core.presence import say
from core.settings import Settings, load_settings
from ingest.sources.probe import NATS, NO_LOGIN, UNTIED, find_mqtt_problem
from tests.servers import Mosquitto, Nats
from tests.serving import until

TIED = "use_username_as_clientid true"


@pytest.fixture
def untied(mosquitto: Mosquitto) -> Mosquitto:
    """A mosquitto that lets a login choose its client id, as it comes from the package."""
    mosquitto.stop()
    text = mosquitto.config.read_text("utf-8")
    assert TIED in text
    mosquitto.config.write_text(text.replace(TIED, ""), "utf-8")
    mosquitto.start()
    return mosquitto


def settings_for(database: str, broker: str, folder: Path, **more: str) -> Settings:
    return load_settings(
        None,
        {
            "CITYHUB_DATABASE_URL": database,
            "CITYHUB_BROKER_URL": broker,
            "CITYHUB_DATA_FOLDER": str(folder),
            "CITYHUB_API_PORT": str(free_port()),
            **more,
        },
    )


async def cut_off(nats: Nats) -> None:
    """Take the log's durable source away."""
    client = await nats_py.connect(nats.url)
    await client.jetstream().delete_consumer("$MQTT_msgs", "hubsrc")
    await client.close()


async def finding(settings: Settings, what: str) -> Finding:
    (found,) = [one for one in await examine(settings) if one.what == what]
    return found


@pytest.mark.tier_p
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_31_a_broker_is_known_for_what_it_is(
    protocol: str, mosquitto: Mosquitto, nats: Nats
) -> None:
    assert await find_mqtt_problem(mosquitto.url, protocol=protocol) is None
    assert await find_mqtt_problem(nats.simulator_url, protocol=protocol) == NATS
    assert await find_mqtt_problem(f"mqtt://127.0.0.1:{mosquitto.port}") == NO_LOGIN


@pytest.mark.tier_p
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_31_a_broker_where_ids_are_free_is_refused(protocol: str, untied: Mosquitto) -> None:
    assert await find_mqtt_problem(untied.url, protocol=protocol) == UNTIED


async def test_a_broker_that_refuses_the_login_or_is_none_says_so(
    mosquitto: Mosquitto, nats: Nats
) -> None:
    wrong = mosquitto.url.replace(mosquitto.password, "wrong")
    with pytest.raises(ConnectionError, match="refuses the login"):
        await find_mqtt_problem(wrong)
    with pytest.raises(OSError, match=r"."):
        await find_mqtt_problem(f"mqtt://hub:x@127.0.0.1:{free_port()}")
    log = nats.url.replace("nats://", "mqtt://")
    with pytest.raises(ConnectionError, match="speaks no MQTT"):
        await find_mqtt_problem(log)


@pytest.mark.tier_p
@pytest.mark.parametrize("case", ["free ids", "nats by mqtt", "no durable source"])
def test_31_the_ingest_role_refuses_an_unsafe_broker(
    case: str, database: str, untied: Mosquitto, nats: Nats, tmp_path: Path
) -> None:
    asyncio.run(cut_off(nats))
    url, words = {
        "free ids": (untied.url, UNTIED),
        "nats by mqtt": (nats.simulator_url, NATS),
        "no durable source": (nats.url, "acknowledged and forgotten"),
    }[case]
    done = subprocess.run(
        [sys.executable, "-m", "cityhub", "ingest"],
        env={
            **os.environ,
            "CITYHUB_DATABASE_URL": database,
            "CITYHUB_BROKER_URL": url,
            "CITYHUB_DATA_FOLDER": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2, done
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


async def test_on_a_safe_broker_the_ingest_role_starts_and_tells_of_its_window(
    database: str, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    environ = {
        **os.environ,
        "CITYHUB_DATABASE_URL": database,
        "CITYHUB_BROKER_URL": mosquitto.url,
        "CITYHUB_DATA_FOLDER": str(tmp_path),
    }
    role = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cityhub", "ingest"),
        env=environ,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: window_limits(database) == [20_000.0], 30)
        assert role.returncode is None
    finally:
        role.kill()
        await role.wait()


def window_limits(url: str) -> list[float]:
    """Return the windows that roles told of."""
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT figures -> 'cityhub_ingest_window_limit_messages' -> 'samples'"
            " FROM hub.role_status WHERE role = 'ingest'"
        ).fetchall()
    return [value for (samples,) in rows for _, _, value in samples or []]


async def test_the_doctor_finds_a_safe_hub_well_and_names_what_is_not(
    database: str, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    settings = settings_for(database, mosquitto.url, tmp_path)
    findings = {one.what: one for one in await examine(settings)}
    sick = {what for what, one in findings.items() if not one.well}
    assert sick == {"page", "roles"}
    assert "none runs" in findings["roles"].words
    assert mosquitto.password not in str(findings)

    await say("ingest", database)
    assert (await finding(settings, "roles")).well
    with psycopg.connect(database) as conn:
        conn.execute("UPDATE hub.role_status SET at = at - interval '1 minute'")
    silent = await finding(settings, "roles")
    assert not silent.well
    assert "ingest" in silent.words


async def test_the_doctor_leaves_a_session_alone_that_is_read(
    database: str, untied: Mosquitto, tmp_path: Path
) -> None:
    settings = settings_for(database, untied.url, tmp_path)
    assert not (await finding(settings, "broker")).well
    await say("ingest", database)
    asked = await finding(settings, "broker")
    assert asked.well
    assert "when it started" in asked.words


async def test_the_doctor_names_every_unsafe_setting(
    database: str, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    settings = settings_for(
        database,
        mosquitto.url,
        tmp_path,
        CITYHUB_DISPATCH_SECRET="changeme",
        CITYHUB_BROKER_PROTOCOL="3.1.1",
    )
    found = await finding(settings, "settings")
    assert not found.well
    assert "dispatch.secret" in found.words
    assert "window of 20" in found.words


async def test_the_doctor_says_what_to_do_about_missing_tables(
    database: str, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("DROP TABLE hub.role_status")
    found = await finding(settings_for(database, mosquitto.url, tmp_path), "roles")
    assert found.words == "tables are missing: run 'cityhub migrate'"


def test_migrate_makes_the_log_of_a_named_nats(database: str, nats: Nats, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cityhub", "migrate"],
        env={
            **os.environ,
            "CITYHUB_DATABASE_URL": database,
            "CITYHUB_BROKER_URL": nats.url,
            "CITYHUB_DATA_FOLDER": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "the log is there, with its durable source" in done.stdout
