"""Readings of one kind between the decoder and the table, with what stands beside their columns."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.batch import Batch
from core.copy import RowPacker
from core.model import Quality
from devices.kind import DeviceKind
from ingest.times import Believed, both_times


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings of one kind, ready for the detectors and for the table.

    Attributes:
        kind: Which.
        batch: What the detectors see. A value beyond its sensor's range stands there as it came,
            its row flagged: the stages leave it out, all but the one that tells maintainers of it.
        seq: ``(n,)``, the second part of the key: the device's counter, else a hash of the record.
        extra: JSON by row.
        device_ts: ``(n,)`` what the devices said, microseconds UTC.
        message: ``(n,)`` index of the message in its batch.
    """

    kind: DeviceKind
    batch: Batch
    seq: NDArray[np.int64]
    extra: dict[int, bytes]
    device_ts: NDArray[np.int64]
    message: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.seq)

    def pack(self, packer: RowPacker, rows: NDArray[np.intp] | None = None) -> bytes:
        """Return all rows, or some, as a COPY BINARY stream."""
        extra, some = self.extra, slice(None) if rows is None else rows
        if rows is not None and extra:
            extra = {i: extra[row] for i, row in enumerate(rows.tolist()) if row in extra}
        return packer.pack(
            ts=self.batch.ts[some],
            seq=self.seq[some],
            device_no=self.batch.device_no[some],
            values=self.batch.values[:, some],
            exact=self.batch.exact[:, some],
            quality=self.batch.quality[some],
            extra=extra,
        )

    def only(self, some: NDArray[np.intp]) -> "Rows":
        """Return some of the rows."""
        batch = self.batch
        said = batch.device_ts
        return Rows(
            self.kind,
            replace(
                batch,
                device_no=batch.device_no[some],
                ts=batch.ts[some],
                rx=batch.rx[some],
                seq=batch.seq[some],
                values=np.ascontiguousarray(batch.values[:, some]),
                exact=np.ascontiguousarray(batch.exact[:, some]),
                quality=batch.quality[some],
                device_ts=None if said is None else said[some],
            ),
            self.seq[some],
            {i: self.extra[row] for i, row in enumerate(some.tolist()) if row in self.extra},
            self.device_ts[some],
            self.message[some],
        )


def extra_texts(
    times: Believed,
    device: NDArray[np.int64],
    rx: NDArray[np.int64],
    *,
    unknown: Mapping[int, Mapping[str, Any]],
    faults: Mapping[int, int],
) -> dict[int, bytes]:
    """Return ``extra`` as JSON by row: the time not believed, fault bits, unknown keys.

    Args:
        times: What became of the times.
        device: ``(n,)`` device times, microseconds UTC.
        rx: ``(n,)`` receive times, likewise.
        unknown: Unknown keys by row; one named ``rx`` steps aside for the hub's own.
        faults: The device's fault bits by row.
    """
    if not (len(times.odd) or unknown or faults):
        return {}
    extra = {
        row: {("rx_" if key == "rx" else key): value for key, value in keys.items()}
        for row, keys in unknown.items()
    }
    for row, bits in faults.items():
        extra.setdefault(row, {})["q"] = bits
    suspect = (times.quality & int(Quality.CLOCK_SUSPECT)) != 0
    special = suspect.copy()
    special[list(extra)] = True
    for row in times.odd[special[times.odd]].tolist():
        apart = both_times(int(device[row]), int(rx[row]), suspect=bool(suspect[row]))
        extra.setdefault(row, {}).update(apart)
    texts = {row: json.dumps(keys, ensure_ascii=False).encode() for row, keys in extra.items()}
    late = times.odd[~special[times.odd]]  # each row of a backlog is one of these
    received = (rx[late] // 1000).tolist()
    texts.update(zip(late.tolist(), (b'{"rx":%d}' % ms for ms in received), strict=True))
    return texts
