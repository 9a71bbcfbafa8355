"""Traffic is recorded off a real broker, and played again over it."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from core.clock import SystemClock
from core.errors import ConfigError
from core.recording import Recorded, Recording, RecordingWriter
from ingest.sources.log import make_log, touch_mqtt
from simulators.courier import Login
from simulators.recorder import Recorder
from simulators.replayer import run_replay
from tests.intake import add_devices, query
from tests.publisher import Message, publish
from tests.servers import Mosquitto, Nats

LOADER = ("loader", "a-password")
LISTENER = ("listener", "another-password")  # a login is one session at this broker
START = 1_780_000_000_000_000


@pytest.fixture
def broker(mosquitto: Mosquitto) -> Mosquitto:
    mosquitto.stop()
    mosquitto.prepare([LOADER, LISTENER])
    acl = mosquitto.config.with_name("acl")
    rights = f"\nuser {LOADER[0]}\ntopic write hub/#\n\nuser {LISTENER[0]}\ntopic read hub/#\n"
    acl.write_text(acl.read_text() + rights)
    mosquitto.start()
    return mosquitto


@asynccontextmanager
async def recording(
    broker: Mosquitto, path: Path, count: int, wanted: str = "hub/#", *, v5: bool = False
) -> AsyncIterator[Recorder]:
    """Record so many messages while the body publishes."""
    login = Login("127.0.0.1", broker.port, *LISTENER)
    recorder = Recorder(login, wanted=wanted, path=path, clock=SystemClock(), most=count, v5=v5)
    async with asyncio.timeout(30):
        running = asyncio.create_task(recorder.run())
        await recorder.listening.wait()
        yield recorder
        await running


async def play(broker: Mosquitto, path: Path, **more: object) -> int:
    settings: dict[str, object] = {"clock": SystemClock(), "connections": 1, **more}
    return await run_replay(
        broker_host="127.0.0.1",
        broker_port=broker.port,
        username=LOADER[0],
        password=LOADER[1],
        path=path,
        **settings,  # type: ignore[arg-type]  # settings of run_replay, by name
    )


def tell(path: Path, *several: Recorded) -> Path:
    with RecordingWriter(path) as writer:
        for one in several:
            writer.append(one)
    return path


def reading(device: str, number: int, gap_s: float = 1.0, **more: object) -> Recorded:
    at = START + round(number * gap_s * 1e6)
    body = {"t": at // 1000 - 2_000, "seq": number, **more}
    return Recorded(at, f"hub/{device}/telemetry".encode(), json.dumps(body).encode())


async def test_a_recording_has_all_that_was_on_the_wire(broker: Mosquitto, tmp_path: Path) -> None:
    sent = [
        Message("hub/MH-1/telemetry", b'{"tilt":1}', content_type="application/json"),
        Message("hub/MH-1/state", b'{"online":true}', retain=True),
        Message("hub/MH-2/event", b"\xff\x00", qos=0),
    ]
    path = tmp_path / "x.rec"
    before = SystemClock().micros()
    async with recording(broker, path, 3, v5=True):
        await publish(broker.port, *LOADER, *sent, v5=True)
    got = list(Recording(path).read())
    assert [(m.topic.decode(), m.payload, m.qos) for m in got] == [
        (m.topic, m.payload, m.qos) for m in sent
    ]
    assert got[0].content_type == "application/json"
    assert all(before <= m.at <= SystemClock().micros() for m in got)
    async with recording(broker, path, 1):
        pass  # what is retained comes to each new subscriber, and is marked
    *_, last = Recording(path).read()
    assert (last.topic, last.retain) == (b"hub/MH-1/state", True)


async def test_a_replay_is_what_was_recorded(broker: Mosquitto, tmp_path: Path) -> None:
    several = [reading(f"D-{i % 3}", i, 0.001) for i in range(100)]
    source = tell(tmp_path / "a.rec", *several)
    async with recording(broker, tmp_path / "b.rec", 100):
        assert await play(broker, source) == 100
    assert [(m.topic, m.payload) for m in Recording(tmp_path / "b.rec").read()] == [
        (m.topic, m.payload) for m in several
    ]


async def test_a_filter_leaves_out_the_rest(broker: Mosquitto, tmp_path: Path) -> None:
    source = tell(tmp_path / "a.rec", *(reading(f"D-{i % 3}", i, 0.001) for i in range(9)))
    assert await play(broker, source, wanted="hub/*-1/#") == 3


async def test_shifted_to_now_a_device_says_now_at_any_speed(
    broker: Mosquitto, tmp_path: Path
) -> None:
    source = tell(tmp_path / "a.rec", *(reading("D-1", i) for i in range(21)))
    before = SystemClock().micros() // 1000
    async with recording(broker, tmp_path / "b.rec", 21):
        await play(broker, source, speed=20, shift=True)
    got = list(Recording(tmp_path / "b.rec").read())
    times = [json.loads(m.payload)["t"] for m in got]
    steps = {later - earlier for earlier, later in itertools.pairwise(times)}
    assert steps <= {49, 50, 51}  # a second, twenty times as fast
    assert times[0] >= before - 100  # two seconds late, twenty times as fast
    late = [m.at // 1000 - t for m, t in zip(got, times, strict=True)]
    assert all(90 <= each < 2_000 for each in late)


async def test_a_replay_stays_on_this_machine_unless_allowed(tmp_path: Path) -> None:
    source = tell(tmp_path / "a.rec", reading("D-1", 1))
    with pytest.raises(ConfigError, match="another machine"):
        await run_replay(
            broker_host="broker.example",
            broker_port=1883,
            username=None,
            password=None,
            path=source,
            clock=SystemClock(),
        )


def test_the_command_line_records_until_it_is_told_to_end_and_replays(
    broker: Mosquitto, tmp_path: Path
) -> None:
    path = tmp_path / "x.rec"

    def environ(login: tuple[str, str]) -> dict[str, str]:
        address = f"mqtt://{login[0]}:{login[1]}@127.0.0.1:{broker.port}"
        return {**os.environ, "CITYHUB_BROKER_TOOL_URL": address}

    argv = [sys.executable, "-m", "cityhub"]
    child = subprocess.Popen(
        [*argv, "record", "hub/#", "-o", str(path)],
        env=environ(LISTENER),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        source = tell(tmp_path / "a.rec", *(reading("D-1", i, 0.01) for i in range(50)))
        for _ in range(100):
            subprocess.run(
                [*argv, "replay", str(source), "--speed", "10"],
                env=environ(LOADER),
                check=True,
                capture_output=True,
                timeout=60,
            )
            if path.exists() and len(Recording(path)):
                break
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=30)
    finally:
        child.kill()
    count = len(Recording(path))
    assert count >= 50
    assert said == f"{count} messages recorded in {path}\n"


async def test_the_embedded_broker_is_recorded_from_its_log(
    nats: Nats, tmp_path: Path, database: str
) -> None:
    login = urlsplit(nats.simulator_url)
    user, password = login.username or "", login.password or ""
    await touch_mqtt("127.0.0.1", nats.mqtt_port, user, password)
    await make_log(nats.url)
    await publish(nats.mqtt_port, user, password, Message("hub/MH-1/event", b"earlier"))
    path = tmp_path / "x.rec"
    argv = [sys.executable, "-m", "cityhub"]
    child = await asyncio.create_subprocess_exec(
        *argv, "record", "hub/+/telemetry", "-o", str(path), "--count", "20",
        env={**os.environ, "CITYHUB_BROKER_URL": nats.url},
    )  # fmt: skip
    now = SystemClock().micros() // 1000
    sent = [
        Message("hub/MH-1/telemetry", b'{"t":%d,"seq":%d,"tilt":1}' % (now - i, i))
        for i in range(400)
    ]
    for start in range(0, 400, 20):
        await publish(nats.mqtt_port, user, password, *sent[start : start + 20])
        if child.returncode is not None:
            break
        await asyncio.sleep(0.2)
    assert await asyncio.wait_for(child.wait(), 20) == 0
    got = list(Recording(path).read())
    assert len(got) == 20
    assert {m.topic for m in got} == {b"hub/MH-1/telemetry"}
    # and the ingest role takes the file for its source
    add_devices(database, "MH-1")
    role = await asyncio.create_subprocess_exec(
        *argv, "ingest",
        env={
            **os.environ,
            "CITYHUB_BROKER_URL": f"replay://{path}",
            "CITYHUB_DATABASE_URL": database,
            "CITYHUB_DATA_FOLDER": str(tmp_path),
        },
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while query(database, "SELECT count(*) FROM hub.reading_manhole_cover") != [(20,)]:
                await asyncio.sleep(0.1)
    finally:
        role.kill()
        await role.wait()
    newest = query(database, "SELECT max(last_contact_at) FROM hub.device_seen")[0][0]
    assert abs((datetime.now(UTC) - newest).total_seconds()) < 60
