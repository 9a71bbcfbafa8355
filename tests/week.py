"""A week of the simulated city, in virtual time, judged by what really happened.

The traffic is recorded once, with scenes and without; ingest worker, sweep and alarm engine take it
in lock-step. Scenes come from :data:`simulators.scenes.SCENES`, each as often as its length allows,
so that a new one joins by itself. A seat acknowledges and resets what is over, once an hour.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
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
from simulators.physics.movers import beat_of
from simulators.scenes import SCENES, Scene
from simulators.scenes.scene import choose_devices
from simulators.score import Score
from simulators.score_hub import score_hub
from simulators.stream import Stream
from simulators.sun import elevation
from simulators.truth import TruthFile, read_truth
from tests.lockstep import LATENCY_US, START

HOUR_US: Final = 3_600_000_000
GAP_H: Final = 2.0
"""Hours between the end of a short scene and the next one."""
_TIMES: Final = 4
"""So often a short scene is played."""
LONG_H: Final = 12.0
"""A scene that lasts longer is played once."""
_WEEKS_S: Final = 7 * 86_400.0
"""One that lasts longer still is played in the days that there are, beside the others."""
SLOPES: Final = ("slope_failing", "slope_rain")
SLOPES_H: Final = 75 * 24.0 + 24.0 + GAP_H
_KEPT_APART: Final = {"slope_failing": (0,), "slope_rain": (1, 2), "battery_cliff": (-1, -2)}
"""Which devices of its kind such a scene befalls: no other scene does."""
_CLEARLY_DEG: Final = 8.0
_DUSK_H: Final = 1.5
_SOON_US: Final = 2 * HOUR_US
_SEED: Final = 11
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
_MOST: Final = {"manhole_cover": 14, "street_lamp": 14, "displacement_point": 3}
_FEW: Final = 4


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
    """Half a hundred devices of all kinds out of the city, whole feeders and gateways first."""
    city = build_city(_SEED, components=0, scale=1.0, intervals=_INTERVALS)
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
        plans=[plan for plan in city.plans if plan.device_id in kept],
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """A scene that is to begin: when, on whom (empty: whom it picks), and for how long."""

    at: int
    scene: Scene
    target: str
    lasts_s: float


def slopes_of(city: City) -> City:
    """Return the city's displacement points alone: what slopes do takes months."""
    points = [device for device in city.devices if device.kind == "displacement_point"]
    return replace(city, components=[], devices=points, plans=[])


def record_week(
    city: City, folder: Path, *, hours: float, scenes: Collection[str] = tuple(SCENES)
) -> Traffic:
    """Record so many hours of the city with some scenes, and write down what really happened."""
    label = "with" if scenes else "without"
    truth = folder / f"{label}.truth.jsonl"
    file = TruthFile(truth)
    span = {"start": from_micros(START), "end": from_micros(START + round(hours * HOUR_US))}
    file.write({"scenario": f"week {label} scenes", **span, "expect": {}})
    stream = Stream(city.devices, seed=_SEED, start=START, truth=file)
    played, left_out = Counter[str](), dict[str, str]()
    plans = _schedule(city, [SCENES[each] for each in scenes], hours)
    left_out |= dict.fromkeys({*scenes} - {plan.scene.name for plan in plans}, "no room")
    path = folder / f"{label}.rec"
    end = START + round(hours * HOUR_US)
    with RecordingWriter(path) as recording:
        now = START
        while now < end:
            due = plans[0].at if plans else end
            now = min(max(stream.next_at(), now), due, end)
            if plans and now >= due:
                plan = plans.pop(0)
                name = plan.scene.name
                try:
                    stream.begin(name, now, target=plan.target, lasts_s=plan.lasts_s)
                    played[name] += 1
                except (ConflictError, NotFoundError) as error:
                    left_out[name] = str(error)
            for message in stream.until(now):
                at = message.at + LATENCY_US
                recording.append(Recorded(at, message.topic.encode(), message.payload))
    return Traffic(path, truth, recording.count, played, left_out)


def _schedule(city: City, scenes: Sequence[Scene], hours: float) -> list[_Plan]:
    """Return when each scene begins: those of one kind one after another, kinds beside each other.

    Detectors learn for a day first, or a quarter of a shorter run. What takes weeks is played in
    the days that there are.
    """
    first, last = min(24.0, hours / 4), hours - GAP_H
    whole = (last - first) * 3600
    plans: list[_Plan] = []
    lanes: dict[str, list[Scene]] = {}
    for scene in scenes:
        if scene.lasts_s > _WEEKS_S:
            at = START + round(first * HOUR_US)
            target = ",".join(
                _of_kind(city, scene.kind)[place] for place in _KEPT_APART[scene.name]
            )
            plans.append(_Plan(at, scene, target, whole))
        else:
            lanes.setdefault(scene.kind, []).append(scene)
    for kind, several in sorted(lanes.items()):
        plans += _lane(city, kind, several, first + 1.0, last)
    return sorted(plans, key=lambda plan: (plan.at, plan.scene.name))


def _lane(
    city: City, kind: str, scenes: Sequence[Scene], first: float, last: float
) -> Iterator[_Plan]:
    """Yield the scenes of one kind, each at most :data:`_TIMES`, as light and shifts allow."""
    chance = generator(_SEED, "week", kind, "order")
    left = [
        scenes[place]
        for turn in range(_TIMES)
        for place in chance.permutation(len(scenes))
        if turn == 0 or scenes[place].lasts_s <= LONG_H * 3600
    ]
    at, turns = first, Counter[str]()
    while left and at < last:
        for place, scene in enumerate(left):
            lasts = _lasts(scene) / 3600
            target = _whom(city, scene, at, turns[scene.name])
            if at + lasts > last or target is None or not _seen(city, scene, at, at + lasts):
                continue
            yield _Plan(START + round(at * HOUR_US), scene, target, lasts * 3600)
            del left[place]
            turns[scene.name] += 1
            at += lasts + GAP_H
            break
        else:
            at += 0.5


def _seen(city: City, scene: Scene, begin: float, end: float) -> bool:
    """Return whether it is day, dusk or night for so long, where the scene asks for it."""
    where = city.devices[0]
    lasts = end - begin
    heights = [
        elevation(START + round(hour * HOUR_US), where.lon, where.lat)
        for hour in (begin - _DUSK_H, *(begin + n / 4 * lasts for n in range(5)))
    ]
    before, heights = heights[0], heights[1:]
    return {
        "any": True,
        "day": min(heights) > _CLEARLY_DEG,
        "dusk": max(heights) < -_CLEARLY_DEG < before,
        "night": max(heights) < -_CLEARLY_DEG,
    }[scene.light]


def _whom(city: City, scene: Scene, hour: float, turn: int) -> str | None:
    """Return whom a scene befalls: each time another device, of vehicles one about to begin work.

    Empty: whom the scene picks; None: nobody is fit for it at this hour.
    """
    if scene.choose is not choose_devices or scene.parameters.get("count", 1) != 1:
        return ""
    at = START + round(hour * HOUR_US)
    apart = {
        _of_kind(city, SCENES[name].kind)[place]
        for name, places in _KEPT_APART.items()
        for place in places
    }
    devices = [
        device
        for device in city.devices
        if device.kind == scene.kind and device.device_id not in apart
    ]
    order = generator(_SEED, "week", scene.name, "whom").permutation(len(devices))
    if scene.kind != "sanitation_vehicle":
        return devices[int(order[turn % len(devices)])].device_id
    for place in map(int, order):
        name, where = devices[place].device_id, devices[place]
        beat = beat_of(scene.kind, name, seed=_SEED, lon=where.lon, lat=where.lat)
        if not beat.worked(at)[1] and beat.worked(at + _SOON_US)[1]:
            return name
    return None


def _of_kind(city: City, kind: str) -> list[str]:
    return [device.device_id for device in city.devices if device.kind == kind]


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


def table(score: Score, traffic: Traffic) -> str:
    """Return a line a scene: how often it was played, what had to be found, and how soon it was."""
    head = ("played", "expected", "found", "delay p50", "worst", "false")
    lines = [f"{'scene':<18}" + "".join(f"{name:>10}" for name in head)]
    scene_of = {
        truth_id: line["note"].split()[0] for truth_id, line in read_truth(traffic.truth).items()
    }
    for name, times in sorted(traffic.played.items()):
        wanted = [each for each in score.expectations if scene_of[each.truth_id] == name]
        delays = sorted(each.delay_s for each in wanted if each.delay_s is not None)
        spans = (_span(delays[len(delays) // 2]), _span(delays[-1])) if delays else ("-", "-")
        met = sum(not each.failing for each in wanted)
        wrong = sum(n for truth_id, n in score.forbidden.items() if scene_of[truth_id] == name)
        cells = (times, len(wanted), met, *spans, wrong)
        lines.append(f"{name:<18}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:.1f} h"


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
