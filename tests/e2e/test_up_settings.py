"""``cityhub --config FILE up``: what the file says holds in every role."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import psycopg
import pytest

from tests.e2e.hub import Up, running
from tests.e2e.test_up_lifecycle import eventually
from tests.servers import open_folder

FILE = """\
[city]
case_prefix = "ZZ"
[api]
token = "from-the-file-0123456789abcdef"
"""


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """A hub without the demo whose settings are in a file, with one registered cover."""
    with open_folder() as path:
        (path / "cityhub.toml").write_text(FILE, "utf-8")
        hub = Up(path / "data", before=("--config", str(path / "cityhub.toml")))
        with running(hub):
            yield hub


def _device(up: Up, *arguments: str) -> str:
    """Run ``cityhub device`` beside the hub and return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "cityhub", "device", *arguments],
        env=up.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _status(up: Up, token: str | None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{up.facts['api_url']}/api/v1/devices", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_asks_for_the_token_that_the_file_names(up: Up) -> None:
    assert _status(up, None) == 401
    assert _status(up, "from-the-file-0123456789abcdef") == 200


def test_cases_are_numbered_with_the_prefix_that_the_file_names(up: Up) -> None:
    _device(up, "add", "MH-0001", "--kind", "manhole_cover")
    secret = _device(up, "secret", "MH-0001").strip()
    publish(up, "MH-0001", secret, "event", {"e": "cover_open", "on": True})

    def case() -> str | None:
        with psycopg.connect(up.database_url) as conn:
            row = conn.execute("SELECT case_no FROM hub.case").fetchone()
            return str(row[0]) if row else None

    assert eventually(case).startswith("ZZ-")


def publish(up: Up, device_id: str, secret: str, channel: str, body: dict[str, object]) -> None:
    """Publish as a device with its own login; a login that is refused is an error."""
    subprocess.run(
        [
            *("mosquitto_pub", "-h", "127.0.0.1", "-p", str(up.facts["mqtt_port"]), "-q", "1"),
            *("-u", device_id, "-P", secret, "-t", f"hub/{device_id}/{channel}"),
            *("-m", json.dumps(body)),
        ],
        capture_output=True,
        timeout=20,
        check=True,
    )


def _listens(up: Up, device_id: str, secret: str) -> "subprocess.Popen[str]":
    """Return a device that waits for commands, once it is let in."""
    listener = subprocess.Popen(
        [
            *("stdbuf", "-oL", "mosquitto_sub", "-d", "-h", "127.0.0.1"),
            *("-p", str(up.facts["mqtt_port"]), "-q", "1", "-u", device_id, "-P", secret),
            *("-i", f"{device_id}-listens", "-t", f"hub/{device_id}/command"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert listener.stdout is not None
    for line in listener.stdout:
        if "SUBACK" in line:
            return listener
    raise AssertionError("it was not let in")


def test_a_device_gets_another_password_and_the_old_one_is_worthless_at_once(up: Up) -> None:
    _device(up, "add", "MH-0002", "--kind", "manhole_cover")
    old = _device(up, "secret", "MH-0002").strip()
    thief = _listens(up, "MH-0002", old)
    try:
        new = _device(up, "rotate", "MH-0002", "--actor", "wang").split()[4]
        assert new != old
        assert new == _device(up, "secret", "MH-0002").strip()
        assert thief.wait(20) == 5, "cut off, and not let in again"
        publish(up, "MH-0002", new, "telemetry", {"tilt": 1})
        with pytest.raises(subprocess.CalledProcessError):
            publish(up, "MH-0002", old, "telemetry", {"tilt": 1})
    finally:
        thief.kill()
        thief.communicate()


def test_a_retired_device_is_cut_off_until_it_is_taken_back(up: Up) -> None:
    _device(up, "add", "MH-0003", "--kind", "manhole_cover")
    secret = _device(up, "secret", "MH-0003").strip()
    device = _listens(up, "MH-0003", secret)
    try:
        _device(up, "retire", "MH-0003", "--actor", "wang")
        assert device.wait(20) == 5
    finally:
        device.kill()
        device.communicate()
    _device(up, "retire", "MH-0003", "--undo", "--actor", "li")

    def admitted() -> bool:
        try:
            publish(up, "MH-0003", secret, "telemetry", {"tilt": 1})
        except subprocess.CalledProcessError:
            return False
        return True

    assert eventually(admitted)
    with psycopg.connect(up.database_url) as conn:
        rows = conn.execute(
            "SELECT actor, action FROM hub.audit WHERE object_id = 'MH-0003' ORDER BY audit_id"
        ).fetchall()
        assert rows == [("wang", "retire"), ("li", "reinstate")]


def test_a_database_that_dies_is_told_in_a_sentence_and_once(up: Up) -> None:
    before = up.child("postgres")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: up.child("postgres") != before, 30)
    eventually(lambda: _answers(up), 30)
    heard = len(up.said)
    assert up.stop() == 0
    words = up.said[heard:]
    assert words.count("PostgreSQL ended, starts again") == 1
    raw = ("connection to server", "server closed", "no notifications", "terminating", "retry")
    assert [line for line in words if any(part in line for part in raw)] == []
    assert sum("the database does not answer" in line for line in words) <= 1


def _answers(up: Up) -> bool:
    with psycopg.connect(up.database_url, connect_timeout=2):
        return True
