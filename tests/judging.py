"""Detectors over what simulated devices say, without a broker or a database."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from core.batch import Batch, DeviceEvent, Finding, Stage
from devices import KINDS, DeviceKind
from devices.topics import Channel, parse_topic
from simulators.stream import Message

_BATCH_US = 5_000_000
NAN = float("nan")


def judge_messages(
    stages: Iterable[Stage], kind: DeviceKind, messages: Iterable[Message], numbers: dict[str, int]
) -> list[Finding]:
    """Return what stages of a kind find in messages, five seconds a batch."""
    stages = list(stages)
    found: list[Finding] = []
    for _, group in groupby(messages, lambda message: message.at // _BATCH_US):
        rows, events = [], []
        for channel, device_no, body in _read(group, numbers):
            if channel is Channel.EVENT:
                events.append(_event(device_no, body))
            else:
                rows.append((device_no, body))
        batch = _batch(kind, rows) if rows else None
        for stage in stages:
            found += stage.apply(batch) if batch else ()
            found += stage.apply_events(events) if events else ()
    return found


def number_devices(messages: Iterable[Message], kind: str) -> dict[str, int]:
    """Return a number for each device of a kind that speaks."""
    prefix = f"hub/sim-{KINDS[kind].id_prefix}-"
    names = {
        message.topic.split("/")[1] for message in messages if message.topic.startswith(prefix)
    }
    return {name: index for index, name in enumerate(sorted(names), start=1)}


def _read(
    messages: Iterable[Message], numbers: Mapping[str, int]
) -> Iterator[tuple[Channel, int, dict[str, Any]]]:
    for message in messages:
        topic = parse_topic(message.topic)
        assert topic is not None
        if topic.device_id in numbers:
            yield topic.channel, numbers[topic.device_id], json.loads(message.payload)


def _batch(kind: DeviceKind, rows: list[tuple[int, dict[str, Any]]]) -> Batch:
    ts = np.array([body["t"] * 1000 for _, body in rows], np.int64)
    shape = (-1, len(rows))
    values = [[body.get(metric.name, NAN) for _, body in rows] for metric in kind.reals]
    exact = [[body.get(metric.name, NAN) for _, body in rows] for metric in kind.exacts]
    return Batch(
        kind=kind.name,
        device_no=np.array([device_no for device_no, _ in rows], np.int32),
        ts=ts,
        rx=ts + 1000,
        seq=np.array([body["seq"] for _, body in rows], np.int64),
        values=np.array(values, np.float32).reshape(shape),
        exact=np.array(exact, np.float64).reshape(shape),
        quality=np.zeros(len(rows), np.int16),
        now=int(ts.max()) + 1000,
    )


def _event(device_no: int, body: Mapping[str, Any]) -> DeviceEvent:
    at = body["t"] * 1000
    return DeviceEvent(
        device_no, body["e"], at, at + 1000, body["seq"], body.get("on"), body.get("val", {})
    )
