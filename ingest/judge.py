"""The detectors of a worker: each batch is stepped once, and one device's poison stays its own.

A stage that raises has changed nothing (:class:`core.batch.Stage`), so the rows can be halved by
device until the guilty device is alone. Its reading is stored all the same; maintainers get a
finding; the others never notice.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.batch import Batch, DeviceEvent, Finding, Stage
from core.model import Edge, Severity, Text
from devices import KINDS
from devices.kind import DeviceKind
from devices.registry import Registry

log = logging.getLogger(__name__)

BuildStages = Callable[[DeviceKind, Mapping[int, Mapping[str, Any]]], Sequence[Stage]]
_HOUR: Final = 3_600_000_000


class Judge:
    """The stages of every kind.

    Args:
        build_stages: Makes the stages of a kind.
        registry: The devices and the rules that hold for them, live.
    """

    def __init__(self, build_stages: BuildStages, registry: Registry) -> None:
        self._registry = registry
        self.stages: dict[str, Sequence[Stage]] = {
            name: tuple(build_stages(kind, registry.limits)) for name, kind in KINDS.items()
        }
        self._told: dict[tuple[int, str], int] = {}

    def step(self, batch: Batch) -> list[Finding]:
        """Judge readings; ORs what the stages find into ``batch.quality``."""
        found: list[Finding] = []
        for stage in self.stages[batch.kind]:
            found += self._apply(stage, batch, batch.now)
        return self._registry.ruled(found)

    def step_events(self, kind: str, events: Sequence[DeviceEvent], now: int) -> list[Finding]:
        """Judge what devices of one kind raised themselves."""
        found: list[Finding] = []
        for stage in self.stages.get(kind, ()):
            found += self._apply_events(stage, events, now)
        return self._registry.ruled(found)

    def _apply(self, stage: Stage, batch: Batch, now: int) -> list[Finding]:
        try:
            return list(stage.apply(batch))
        except Exception as error:  # noqa: BLE001 - a fault in a detector never stops the readings
            numbers = np.unique(batch.device_no)
            if len(numbers) == 1:
                return self._failed(stage, int(numbers[0]), now, error)
            first = np.isin(batch.device_no, numbers[: len(numbers) // 2])
            found: list[Finding] = []
            for rows in (np.flatnonzero(first), np.flatnonzero(~first)):
                part = _take(batch, rows)
                found += self._apply(stage, part, now)
                batch.quality[rows] |= part.quality
            return found

    def _apply_events(self, stage: Stage, events: Sequence[DeviceEvent], now: int) -> list[Finding]:
        try:
            return list(stage.apply_events(events))
        except Exception as error:  # noqa: BLE001 - as above
            numbers = sorted({event.device_no for event in events})
            if len(numbers) == 1:
                return self._failed(stage, numbers[0], now, error)
            first = set(numbers[: len(numbers) // 2])
            return [
                *self._apply_events(stage, [e for e in events if e.device_no in first], now),
                *self._apply_events(stage, [e for e in events if e.device_no not in first], now),
            ]

    def _failed(self, stage: Stage, device_no: int, now: int, error: Exception) -> list[Finding]:
        """Tell maintainers, once a device, stage and hour."""
        key = (device_no, stage.name)
        if now - self._told.get(key, -_HOUR) < _HOUR:
            return []
        self._told[key] = now
        log.error(
            "a detector failed on one device; its readings are stored, unjudged",
            extra={"stage": stage.name, "device_no": device_no},
            exc_info=error,
        )
        return [
            Finding(
                device_no=device_no,
                rule_id="stage_failed",
                detector=stage.name,
                kind="failed",
                edge=Edge.ONCE,
                ts=now,
                first_ts=now,
                received_at=now,
                severity=Severity.BLUE,
                explain=Text(
                    f"检测程序 {stage.name} 处理该设备数据时出错；数据已入库，未作判断。",
                    f"The detector {stage.name} failed on this device; its readings are stored,"
                    " unjudged.",
                ),
                detail={"feature": "stage", "stage": stage.name, "error": type(error).__name__},
            )
        ]


def _take(batch: Batch, rows: NDArray[np.intp]) -> Batch:
    """Return some rows of a batch."""
    return Batch(
        kind=batch.kind,
        device_no=batch.device_no[rows],
        ts=batch.ts[rows],
        rx=batch.rx[rows],
        seq=batch.seq[rows],
        values=np.ascontiguousarray(batch.values[:, rows]),
        exact=np.ascontiguousarray(batch.exact[:, rows]),
        quality=batch.quality[rows],
        now=batch.now,
        device_ts=None if batch.device_ts is None else batch.device_ts[rows],
        found=batch.found,
    )
