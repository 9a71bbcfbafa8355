"""What the city's devices say, in the order in which they say it; no wire, no clock, no waiting.

The same devices, seed, start and scenes give the same bytes. Reports lie on a lattice of time that
is each device's own (a phase within its interval), so that they are spread evenly and a restarted
simulator goes on in step. Order is (time, device, counter), whatever the scenes mix in.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from core.errors import ConflictError, NotFoundError
from core.model import from_micros
from devices import KINDS
from devices.native import encode_event, encode_record
from devices.topics import Channel, format_topic
from simulators.chance import generator
from simulators.city_devices import CityDevice
from simulators.physics.pace import Pace
from simulators.player import MS, Player, whole_ms
from simulators.scenes import SCENES, Act, Cast, Cue, Scene
from simulators.truth import TruthFile

_STAGE: Final = -1  # the order of what no device does: of equal times it goes first


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it goes on the wire.

    Attributes:
        at: When it is due, microseconds UTC; the ``t`` inside.
        order: Number of the device in the list: of equal times the lower goes first.
        topic: MQTT topic.
        payload: Its bytes.
        qos: How it is sent.
        retain: The broker keeps it for later subscribers.
    """

    at: int
    order: int
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@dataclass(slots=True)
class Performance:
    """One scene that is on.

    Attributes:
        truth_id: Its number in the truth file; what ``stop`` takes.
        scene: Which.
        cast: Who plays.
        act: What happens to them.
        start: Microseconds UTC.
        end: Likewise, as planned.
    """

    truth_id: str
    scene: Scene
    cast: Cast
    act: Act
    start: int
    end: int

    def describe(self) -> dict[str, Any]:
        """Return it as maintainers see it."""
        return {
            "id": self.truth_id,
            "scene": self.scene.name,
            "label": {"zh": self.scene.label.zh, "en": self.scene.label.en},
            "node": self.cast.node,
            "devices": list(self.cast.devices),
            "start": from_micros(self.start).isoformat(),
            "end": from_micros(self.end).isoformat(),
        }


@dataclass(order=True, slots=True)
class _Due:
    at: int
    order: int
    number: int
    act: Callable[[int], Iterable[Message]] = field(compare=False)
    repeats: "Player | None" = field(compare=False, default=None)


class Stream:
    """All devices of a city and the scenes that befall them.

    Args:
        devices: The city's devices; virtual ones only stand for their members.
        seed: Of the run.
        start: First moment, microseconds UTC.
        truth: Where scenes are written down.
    """

    def __init__(
        self,
        devices: Sequence[CityDevice],
        *,
        seed: int,
        start: int,
        truth: TruthFile | None = None,
    ) -> None:
        self.devices = list(devices)
        self.on: dict[str, Performance] = {}
        self._seed = seed
        self._truth = truth or TruthFile(None)
        self._queue: list[_Due] = []
        self._pushed = 0
        self._played = 0
        self._players = {
            device.device_id: Player(device, order, seed, start)
            for order, device in enumerate(self.devices)
            if device.kind in KINDS
        }
        for player in self._players.values():
            slot = player.next_slot(start - 1, player.pace(start))
            self._push(slot, player.order, self._reporter(player), player)

    def next_at(self) -> int:
        """Return when the next thing is due, microseconds UTC."""
        return self._queue[0].at

    def until(self, at: int) -> Iterator[Message]:
        """Yield all messages that are due up to a time, in order."""
        while self._queue and self._queue[0].at <= at:
            due = heapq.heappop(self._queue)
            yield from due.act(due.at)

    def skip_to(self, at: int) -> None:
        """Send nothing of what is due before a time, as if all devices had slept until then."""
        missed = [due for due in self._queue if due.at < at]
        self._queue = [due for due in self._queue if due.at >= at]
        heapq.heapify(self._queue)
        for due in missed:
            if due.repeats is not None:
                slot = due.repeats.next_slot(at, due.repeats.pace(at))
                self._push(slot, due.order, due.act, due.repeats)
            elif due.order == _STAGE:
                self._push(at, _STAGE, due.act)

    def begin(
        self,
        name: str,
        at: int,
        *,
        target: str = "",
        lasts_s: float | None = None,
        parameters: Mapping[str, float] | None = None,
    ) -> Performance:
        """Start a scene now.

        Args:
            name: Of the scene.
            at: Now, microseconds UTC.
            target: See :meth:`Scene.cast`.
            lasts_s: How long; None: as the scene says.
            parameters: Others than its defaults.

        Raises:
            NotFoundError: No such scene, target or parameter.
            ConflictError: The same scene is on at one of its devices.
        """
        scene = SCENES.get(name)
        if scene is None:
            raise NotFoundError(f"there is no scene {name!r}; there are {', '.join(SCENES)}")
        at = at // MS * MS
        truth_id = f"T{at // MS}-{self._played + 1}"
        chance = generator(self._seed, name, truth_id, "scene")
        cast = scene.cast(self.devices, target, parameters or {}, chance, lasts_s)
        for other in self.on.values():
            if other.scene is scene and other.cast.devices.keys() & cast.devices.keys():
                raise ConflictError(f"{name} is already on at {other.cast.node}: {other.truth_id}")
        self._played += 1
        end = at + whole_ms(cast.lasts_s)
        performance = Performance(truth_id, scene, cast, scene.act(cast), at, end)
        self.on[truth_id] = performance
        self._write_down(performance, end)
        for cue in performance.act.cues():
            if cue.after_s <= cast.lasts_s:
                self._cue(cue, at)
        self._push(end, _STAGE, lambda now: self._close(truth_id, now))
        return performance

    def stop(self, truth_id: str, at: int) -> Performance:
        """End a scene before its time.

        Raises:
            NotFoundError: It is not on.
        """
        performance = self.on.get(truth_id)
        if performance is None:
            raise NotFoundError(f"no scene {truth_id!r} is on; on are {', '.join(self.on) or '-'}")
        self._close(truth_id, at // MS * MS)
        return performance

    def repair(self, device_id: str, at: int) -> list[Performance]:
        """End the scenes that a device, feeder or gateway plays in, as a crew does on site.

        What no crew can end, such as a flood, goes on.
        """
        ended = [each for each in self.befalling(device_id) if each.scene.mendable]
        for performance in ended:
            self.stop(performance.truth_id, at)
        return ended

    def befalling(self, device_id: str) -> list[Performance]:
        """Return the scenes that a device, feeder or gateway plays in."""
        return [
            each
            for each in self.on.values()
            if device_id == each.cast.node or device_id in each.cast.devices
        ]

    def _close(self, truth_id: str, at: int) -> Sequence[Message]:
        performance = self.on.pop(truth_id, None)
        if performance is not None:
            self._write_down(performance, at)
            for cue in performance.act.closing():
                self._cue(cue, at)
        return ()

    def _write_down(self, performance: Performance, end: int) -> None:
        scene, cast = performance.scene, performance.cast
        self._truth.write(
            {
                "truth_id": performance.truth_id,
                "cause": scene.cause,
                "kind": scene.kind,
                "node": cast.node,
                "devices": list(cast.devices),
                "start": from_micros(performance.start),
                "end": from_micros(end),
                "severity": scene.severity and scene.severity.text.en,
                "must": scene.must,
                "must_not": scene.must_not,
                "note": f"{scene.name} {json.dumps(cast.parameters)}",
            }
        )

    def _push(
        self,
        at: int,
        order: int,
        act: Callable[[int], Iterable[Message]],
        repeats: Player | None = None,
    ) -> None:
        self._pushed += 1
        heapq.heappush(self._queue, _Due(at, order, self._pushed, act, repeats))

    def _reporter(self, player: Player) -> Callable[[int], Iterable[Message]]:
        def report(at: int) -> Iterable[Message]:
            pace = player.pace(at)
            self._push(player.next_slot(at, pace), player.order, report, player)
            if pace is not Pace.ASLEEP:
                yield from self._record(player, at)

        return report

    def _cue(self, cue: Cue, since: int) -> None:
        player = self._players[cue.device_id]
        at = since + round(cue.after_s * 1000) * MS

        def play(now: int) -> Iterable[Message]:
            if cue.event:
                return self._event(player, cue, now)
            return self._record(player, now)

        self._push(at, player.order, play)

    def _shaped(self, player: Player, at: int) -> dict[str, float] | None:
        """Return what a device measures with its scenes, or None where it is silent."""
        values = player.measure(at)
        name = player.device.device_id
        for performance in self.on.values():
            if name in performance.cast.devices:
                since_s = (at - performance.start) / 1e6
                if not performance.act.shape(name, since_s, values):
                    return None
        return values

    def _record(self, player: Player, at: int) -> Iterator[Message]:
        values = self._shaped(player, at)
        if values is not None:
            body = encode_record(player.kind, values, ts_micros=at, seq=player.count())
            yield self._message(player, at, Channel.TELEMETRY, body)

    def _event(self, player: Player, cue: Cue, at: int) -> Iterator[Message]:
        values = self._shaped(player, at)
        if values is not None:
            carried = {
                name: round(values[name], player.kind.metric(name).decimals) for name in cue.metrics
            }
            body = encode_event(
                cue.event, ts_micros=at, seq=player.count(), on=cue.on, values=carried
            )
            yield self._message(player, at, Channel.EVENT, body)

    def _message(self, player: Player, at: int, channel: Channel, body: bytes) -> Message:
        topic = format_topic(player.device.device_id, channel)
        return Message(at, player.order, topic, body)


def hash_of(messages: Iterable[Message]) -> str:
    """Return a hash of topics and payloads in order: equal streams, equal hashes."""
    digest = blake2b(digest_size=16)
    for message in messages:
        digest.update(f"{message.topic}\0{len(message.payload)}\0".encode())
        digest.update(message.payload)
    return digest.hexdigest()
