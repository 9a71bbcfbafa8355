"""The control socket answers every request with what was done, or with a sentence."""

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import ConfigError, StartError
from core.model import from_micros
from simulators import control
from simulators.city import build_city
from simulators.life import FIRST_S, Life
from simulators.scenes import SCENES
from simulators.stream import Stream
from tests.contract.test_scenes import START

CITY = build_city(7, components=0, scale=0.2)
DAY_US = 86_400_000_000


@pytest.fixture
def stream() -> Stream:
    return Stream(CITY.devices, seed=7, start=START)


@pytest.fixture
async def door(stream: Stream, tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "control.sock"
    clock = ManualClock(from_micros(START))
    desk = control.Desk(stream, now=clock.micros, status=lambda: {"sent": 3})
    async with control.open_desk(path, desk.handle):
        yield path


async def test_scenes_are_begun_listed_and_ended(door: Path, stream: Stream) -> None:
    begun = await asyncio.to_thread(
        control.start_scene, door, "cover_stolen", target="sim-MH-0003", lasts_s=60
    )
    assert begun["node"] == "sim-MH-0003"
    told = await asyncio.to_thread(control.status, door)
    assert [each["id"] for each in told["on"]] == [begun["id"]]
    assert told["sent"] == 3
    assert (await asyncio.to_thread(control.stop_scene, door, begun["id"]))["scene"]
    assert not stream.on


async def test_a_repair_ends_what_befell_a_device(door: Path, stream: Stream) -> None:
    await asyncio.to_thread(control.start_scene, door, "gateway_silent", target="sim-GW-01")
    assert await asyncio.to_thread(control.repair, door, "sim-VE-0001") == []
    assert stream.on
    (ended,) = await asyncio.to_thread(control.repair, door, "sim-GW-01")
    assert ended["scene"] == "gateway_silent"
    assert not stream.on


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"do": "start", "scene": "earthquake"}, "there is no scene 'earthquake'; there are"),
        ({"do": "start", "scene": "lorries", "target": "x"}, "there is no manhole_cover 'x' here"),
        ({"do": "start", "scene": "lorries", "for_s": -1}, "longer than 0 seconds"),
        ({"do": "start", "scene": "lorries", "for_s": "soon"}, "cannot be read"),
        ({"do": "start", "scene": "lorries", "with": {"depth": 1}}, "no parameter 'depth'"),
        ({"do": "start", "scene": "lorries", "with": 5}, "cannot be read"),
        ({"do": "stop", "id": "T1"}, "no scene 'T1' is on"),
        ({"do": "dance"}, "'do' must be one of"),
        ({}, "'do' must be one of"),
    ],
)
async def test_a_request_that_cannot_be_met_is_answered_with_a_sentence(
    door: Path, request_: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        await asyncio.to_thread(control.ask, door, request_)


async def test_lines_that_are_no_requests_harm_nobody(door: Path) -> None:
    def send(line: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(5)
            wire.connect(str(door))
            wire.sendall(line)
            return wire.makefile("rb").readline()

    for line in (b"hello\n", b"[]\n", b"\xff\n"):
        assert json.loads(await asyncio.to_thread(send, line))["ok"] is False
    assert await asyncio.to_thread(send, b"x" * 200_000 + b"\n") == b""
    assert (await asyncio.to_thread(control.status, door))["on"] == []


async def test_only_the_owner_may_open_the_socket_and_only_one_simulator_has_it(
    door: Path,
) -> None:
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    with pytest.raises(StartError, match="another simulator listens"):
        async with control.open_desk(door, dict):
            pass


async def test_a_socket_left_by_a_killed_simulator_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with control.open_desk(path, lambda _: {"ok": True, "alive": 1}):
        assert await asyncio.to_thread(control.ask, path, {}) == {"alive": 1}
    assert not path.exists()


def test_without_a_simulator_a_request_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cityhub up --demo"):
        control.status(tmp_path / "nobody.sock")


def test_all_scenes_are_listed_with_their_parameters() -> None:
    assert [scene["name"] for scene in control.list_scenes()] == list(SCENES)
    json.dumps(control.list_scenes())


def test_life_begins_with_a_theft_and_never_storms() -> None:
    def live(seed: int) -> list[str]:
        stream = Stream(CITY.devices, seed=seed, start=START)
        life = Life(stream, seed=seed, start=START)
        told = []
        while life.next_at() < START + DAY_US // 4:
            now = life.next_at()
            stream.skip_to(now)
            list(stream.until(now))
            if begun := life.step(now):
                told.append(f"{now} {stream.on[begun].scene.name}")
            assert len(stream.on) <= 2
        return told

    told = live(7)
    assert told[0] == f"{START + round(FIRST_S * 1e6)} cover_stolen"
    assert {line.split()[1] for line in told} <= set(SCENES)  # some last for days
    assert live(7) == told
    assert live(8) != told


def test_the_time_of_a_start_is_on_a_whole_millisecond(stream: Stream) -> None:
    assert stream.begin("cover_stolen", START + 1).start == START


async def test_no_crew_ends_a_flood(door: Path, stream: Stream) -> None:
    performance = stream.begin("river_rising", stream.next_at(), lasts_s=600)
    gauge = performance.cast.node
    assert await asyncio.to_thread(control.repair, door, gauge) == []
    assert await asyncio.to_thread(control.goes_on, door, gauge)
    stream.stop(performance.truth_id, stream.next_at())
    assert not await asyncio.to_thread(control.goes_on, door, gauge)
