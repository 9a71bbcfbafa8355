"""A week of the simulated city, in virtual time, judged by what really happened.

The traffic is recorded once, with scenes and without; ingest worker, sweep and alarm engine take it
in lock-step. Scenes come from :data:`simulators.scenes.SCENES`, each as often as its length allows,
so that a new one joins by itself. A seat acknowledges and resets what is over, once an hour.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psycopg

from alerts.actions import StaffActions
from alerts.office import Office
from core.clock import Clock
from core.db import Pool
from core.errors import ConflictError, NotFoundError
from core.model import from_micros
from core.recording import Recorded, RecordingWriter
from devices import KINDS
from simulators.chance import generator
from simulators.city import City, build_city
from simulators.city_devices import CityDevice
from simulators.scenes import SCENES, Scene
from simulators.score import Score
from simulators.score_hub import score_hub
from simulators.stream import Stream
from simulators.truth import TruthFile
from tests.lockstep import LATENCY_US, START

HOUR_US: Final = 3_600_000_000
GAP_H: Final = 2.0
"""Hours between the end of a short scene and the next one."""
_TIMES: Final = 4
"""So often a short scene is played."""
LONG_H: Final = 12.0
"""A scene that lasts longer goes on beside the others."""
_INTERVALS: Final = {
    # enough rows for detectors to learn in half a day, and a week is no flood
    "manhole_cover": 600.0,
    "street_lamp": 300.0,
    "sanitation_vehicle": 60.0,
    "sanitation_worker": 300.0,
    "water_gauge": 300.0,
    "rain_gauge": 300.0,
    "displacement_point": 3600.0,
    "video_endpoint": 900.0,
}
_REPORTS: Final = 6
"""A scene lasts for so many reports of its devices at least: these report seldom."""
_MOST: Final = {"manhole_cover": 30, "street_lamp": 20, "sanitation_worker": 6}
_FEW: Final = 6


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the city said.

    Attributes:
        path: The recording.
        truth: What really happened.
        messages: How many messages.
        played: How often each scene was played.
        left_out: Scenes that do not fit, and why.
    """

    path: Path
    truth: Path
    messages: int
    played: Counter[str]
    left_out: dict[str, str]


def week_city() -> City:
    """A hundred devices of all kinds out of the city, whole feeders and gateways first."""
    city = build_city(11, components=0, scale=1.0, intervals=_INTERVALS)
    chosen: list[CityDevice] = []
    for kind in dict.fromkeys(device.kind for device in city.devices):
        several = [device for device in city.devices if device.kind == kind]
        members = Counter(device.gateway or device.feeder for device in several)
        several.sort(
            key=lambda device: (-members[device.gateway or device.feeder], device.device_id)
        )
        chosen += several[: _MOST.get(kind, _FEW)]
    carriers = {name for device in chosen for name in (device.gateway, device.feeder) if name}
    kept = {device.device_id for device in chosen} | carriers
    components = {device.component_code for device in city.devices if device.device_id in kept}
    return replace(
        city,
        components=[each for each in city.components if each.component_code in components],
        devices=[device for device in city.devices if device.device_id in kept],
    )


def record_week(
    city: City, folder: Path, *, hours: float, scenes: Collection[str] = tuple(SCENES)
) -> Traffic:
    """Record so many hours of the city with some scenes, and write down what really happened."""
    name = "with" if scenes else "without"
    truth = folder / f"{name}.truth.jsonl"
    file = TruthFile(truth)
    span = {"start": from_micros(START), "end": from_micros(START + round(hours * HOUR_US))}
    file.write({"scenario": f"week {name} scenes", **span, "expect": {}})
    stream = Stream(city.devices, seed=11, start=START, truth=file)
    played, left_out = Counter[str](), dict[str, str]()
    cues = _schedule([SCENES[each] for each in scenes], hours, left_out)
    path = folder / f"{name}.rec"
    end = START + round(hours * HOUR_US)
    with RecordingWriter(path) as recording:
        now = START
        while now < end:
            due = cues[0][0] if cues else end
            now = min(max(stream.next_at(), now), due, end)
            if cues and now >= due:
                scene = cues.pop(0)[1]
                try:
                    stream.begin(scene.name, now, lasts_s=_lasts(scene))
                    played[scene.name] += 1
                except (ConflictError, NotFoundError) as error:
                    left_out[scene.name] = str(error)
            for message in stream.until(now):
                at = message.at + LATENCY_US
                recording.append(Recorded(at, message.topic.encode(), message.payload))
    return Traffic(path, truth, recording.count, played, left_out)


def _schedule(
    scenes: Sequence[Scene], hours: float, left_out: dict[str, str]
) -> list[tuple[int, Scene]]:
    """Return when each scene begins: long ones early, short ones one after another till the end.

    Detectors learn for a day first, or a quarter of a shorter run.
    """
    first, last = min(24.0, hours / 4), hours - GAP_H
    cues: list[tuple[int, Scene]] = []
    short: list[Scene] = []
    for scene in scenes:
        lasts = _lasts(scene) / 3600
        if lasts > last - first:
            left_out[scene.name] = f"it lasts {lasts:.0f} h"
        elif lasts > LONG_H:
            cues.append((START + round(first * HOUR_US), scene))
        else:
            short.append(scene)
    at = first + 1.0
    chance = generator(11, "week", "city", "order")
    for _ in range(_TIMES):
        for place in chance.permutation(len(short)):
            scene = short[place]
            if at + _lasts(scene) / 3600 <= last:
                cues.append((START + round(at * HOUR_US), scene))
                at += _lasts(scene) / 3600 + GAP_H
    return sorted(cues, key=lambda cue: cue[0])


def _lasts(scene: Scene) -> float:
    """Return how long a scene lasts here, in seconds: a shorter silence looks like rest."""
    kind = KINDS[scene.kind]
    slowest = max(_INTERVALS[scene.kind], kind.idle_interval_s or 0.0)
    return max(scene.lasts_s, _REPORTS * slowest)


async def tidy(pool: Pool, clock: Clock) -> None:
    """Acknowledge all alarms, and reset the latched ones that are over, as a seat does."""
    actions = StaffActions(pool, clock, "webhook", office=Office())
    async with pool.connection() as conn:
        rows = await (
            await conn.execute(
                "SELECT alarm_id, ack_state, latched AND condition_state = 'cleared'"
                " AND reset_at IS NULL FROM hub.alarm WHERE ack_state = 'unacked'"
                " OR (latched AND condition_state = 'cleared' AND reset_at IS NULL)"
                " ORDER BY alarm_id"
            )
        ).fetchall()
    for alarm_id, ack_state, held in rows:
        try:
            if ack_state == "unacked":
                await actions.acknowledge(alarm_id, actor="seat 1")
            if held:
                await actions.reset_alarm(alarm_id, actor="seat 1", reason="looked at")
        except ConflictError:
            continue  # not yet: the next hour


def judged(url: str, traffic: Traffic) -> Score:
    """Hold the hub against what really happened."""
    with psycopg.connect(url) as conn:
        return score_hub(conn, traffic.truth)


def findings_per_device_day(url: str, hours: float) -> tuple[float, Sequence[tuple[str, str, int]]]:
    """Return how many episodes were found a device and day, and by which rule and detector."""
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT rule_id, detector, count(*)::int FROM hub.finding"
            " WHERE edge IN ('open', 'once') GROUP BY 1, 2 ORDER BY 3 DESC"
        ).fetchall()
        [devices] = conn.execute(
            "SELECT count(*) FROM hub.device WHERE kind NOT IN ('gateway', 'feeder', 'hub')"
        ).fetchone() or (1,)
    return sum(row[2] for row in rows) / (devices * hours / 24), rows
