"""A fence around a stage: what a defect in it costs is one device's verdict, never a batch.

A stage that raises has changed part of its state. So the rows of the batch's devices are set aside
first; on an error they are put back and the batch is halved by devices until the one that cannot be
judged is alone. Its readings are stored like any other, a finding says that it was not judged, and
the next batch tries it again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.state import StatefulStage
from core.batch import Batch, DeviceEvent, Finding
from core.model import Edge, Severity, Text

_REPEAT_US: Final = 3_600_000_000  # told at most once an hour and device; ours

Devices = NDArray[np.int32]


class Guarded:
    """A stage that never raises, whatever the one inside does.

    Args:
        stage: The stage to fence.
    """

    def __init__(self, stage: StatefulStage[Any]) -> None:
        self._stage = stage
        self.name = stage.name
        self.version = stage.version
        self._told: dict[int, int] = {}

    def apply(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`core.batch.Stage.apply`."""
        everyone = np.unique(batch.device_no)

        def judge(devices: Devices) -> Sequence[Finding]:
            rows = np.arange(len(batch))
            if len(devices) < len(everyone):
                rows = np.flatnonzero(np.isin(batch.device_no, devices))
            part = _select(batch, rows)
            found = self._stage.apply(part)
            batch.quality[rows] = part.quality
            return found

        return self._judge(everyone, judge, batch.now) if len(batch) else []

    def apply_events(self, events: Sequence[DeviceEvent]) -> Sequence[Finding]:
        """See :meth:`core.batch.Stage.apply_events`."""

        def judge(devices: Devices) -> Sequence[Finding]:
            some = set(devices.tolist())
            return self._stage.apply_events([event for event in events if event.device_no in some])

        if not events:
            return []
        everyone = np.unique(np.array([event.device_no for event in events], np.int32))
        return self._judge(everyone, judge, max(event.rx for event in events))

    def dump(self) -> bytes:
        """See :meth:`core.batch.Stage.dump`."""
        return self._stage.dump()

    def load(self, state: bytes) -> None:
        """See :meth:`core.batch.Stage.load`."""
        self._stage.load(state)

    def _judge(
        self, devices: Devices, judge: Callable[[Devices], Sequence[Finding]], now: int
    ) -> Sequence[Finding]:
        saved = self._stage.state.save(devices)
        try:
            return judge(devices)
        except Exception as error:  # noqa: BLE001 - whatever a defect raises costs one device only
            self._stage.state.restore(saved)
            if len(devices) == 1:
                return self._failed(int(devices[0]), error, now)
        half = len(devices) // 2
        return [
            *self._judge(devices[:half], judge, now),
            *self._judge(devices[half:], judge, now),
        ]

    def _failed(self, device_no: int, error: Exception, now: int) -> list[Finding]:
        """Return what maintainers are told, at most once an hour."""
        if now - self._told.get(device_no, now - _REPEAT_US) < _REPEAT_US:
            return []
        self._told[device_no] = now
        reason = f"{type(error).__name__}: {error}"
        return [
            Finding(
                device_no=device_no,
                rule_id="stage_failed",
                detector=self.name,
                kind=self.name,
                edge=Edge.ONCE,
                ts=now,
                first_ts=now,
                received_at=now,
                severity=Severity.BLUE,
                explain=Text(
                    f"检测程序 {self.name} 出错，读数已入库但未判断",
                    f"detector {self.name} failed: readings are stored but were not judged",
                ),
                detail={"error": reason[:500], "at": _where(error)},
            )
        ]


def _select(batch: Batch, rows: NDArray[np.intp]) -> Batch:
    """Return some rows of a batch, with a quality column of their own."""
    if len(rows) == len(batch):
        return replace(batch, quality=batch.quality.copy())
    return Batch(
        batch.kind,
        batch.device_no[rows],
        batch.ts[rows],
        batch.rx[rows],
        batch.seq[rows],
        batch.values[:, rows],
        batch.exact[:, rows],
        batch.quality[rows],
        batch.now,
    )


def _where(error: Exception) -> str:
    """Return file and line of the innermost frame."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
