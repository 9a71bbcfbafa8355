"""How often each device really speaks: the median of its last twenty gaps, and its jitter.

Learnt from the times of last contact that the sweep sees, which are stored at most every five
seconds a device. The period learnt never shortens the one that the registry or the kind declares:
devices speed up while something happens and slow down again, and a sound one called lost costs more
than ten minutes. It lengthens: a cover told to report every six hours is not lost after three.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from analytics.heartbeat import JITTER_US

GAPS: Final = 20
_STEP: Final = 0.1  # of the jitter learnt so far, by which a late message moves it
_LEAST_STEP_US: Final = 1_000_000
_LATE: Final = 0.99
_MOST_PERIODS: Final = 3  # later than that is an outage, no jitter


class Kept(msgspec.Struct):
    """The periods as the database keeps them: arrays as bytes, in the order of the numbers."""

    device_no: bytes
    last: bytes
    count: bytes
    gaps: bytes
    jitter: bytes


@dataclass(slots=True)
class Periods:
    """What was learnt, one row a device in the order of ``device_no``."""

    device_no: NDArray[np.int32]
    last: NDArray[np.int64]
    count: NDArray[np.int32]
    gaps: NDArray[np.float32]
    jitter: NDArray[np.float64]

    @classmethod
    def empty(cls) -> "Periods":
        """Return nothing learnt."""
        return cls(
            np.empty(0, np.int32),
            np.empty(0, np.int64),
            np.empty(0, np.int32),
            np.empty((0, GAPS), np.float32),
            np.empty(0, np.float64),
        )

    def follow(
        self, device_no: NDArray[np.int32], contact: NDArray[np.int64], declared: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Learn from the times of last contact, and return period and jitter of each device.

        Args:
            device_no: ``(n,)``, each once; those not named are forgotten.
            contact: ``(n,)`` when each was heard last, microseconds.
            declared: ``(n,)`` the period that registry or kind declare, microseconds.
        """
        self._align(device_no, contact)
        new = np.flatnonzero(contact > self.last)
        gap = (contact[new] - self.last[new]).astype(np.float32)
        self.gaps[new, self.count[new] % GAPS] = gap
        self.count[new] += 1
        self.last[new] = contact[new]
        period = declared.copy()
        sure = np.flatnonzero(self.count >= GAPS)
        if len(sure):
            median = np.median(self.gaps[sure], axis=1).astype(np.int64)
            period[sure] = np.maximum(declared[sure], median)
        late = gap - period[new]
        normal = (self.count[new] > GAPS) & (gap < _MOST_PERIODS * period[new])
        at, late = new[normal], np.maximum(late[normal], 0)
        step = np.maximum(_STEP * self.jitter[at], _LEAST_STEP_US)
        self.jitter[at] += np.where(late > self.jitter[at], _LATE * step, (_LATE - 1) * step)
        jitter = np.where(self.count >= 2 * GAPS, self.jitter, JITTER_US)
        return period, np.maximum(jitter, _LEAST_STEP_US).astype(np.int64)

    def _align(self, device_no: NDArray[np.int32], contact: NDArray[np.int64]) -> None:
        """Have one row for each of these devices, in their order."""
        if np.array_equal(device_no, self.device_no):
            return
        known = {no: row for row, no in enumerate(self.device_no.tolist())}
        rows = np.array([known.get(no, -1) for no in device_no.tolist()], np.intp)
        old = rows >= 0
        count, gaps = np.zeros(len(rows), np.int32), np.zeros((len(rows), GAPS), np.float32)
        last, jitter = contact.copy(), np.full(len(rows), float(JITTER_US))
        count[old], gaps[old] = self.count[rows[old]], self.gaps[rows[old]]
        last[old], jitter[old] = self.last[rows[old]], self.jitter[rows[old]]
        self.device_no, self.last, self.count = device_no.copy(), last, count
        self.gaps, self.jitter = gaps, jitter

    def keep(self) -> Kept:
        """Return it as bytes."""
        return Kept(*(getattr(self, name).tobytes() for name in Kept.__struct_fields__))

    @classmethod
    def of(cls, kept: Kept) -> "Periods":
        """Return what was kept.

        Raises:
            ValueError: The arrays do not fit together.
        """
        periods = cls(
            np.frombuffer(kept.device_no, np.int32).copy(),
            np.frombuffer(kept.last, np.int64).copy(),
            np.frombuffer(kept.count, np.int32).copy(),
            np.frombuffer(kept.gaps, np.float32).reshape(-1, GAPS).copy(),
            np.frombuffer(kept.jitter, np.float64).copy(),
        )
        sizes = {len(getattr(periods, name)) for name in Kept.__struct_fields__}
        if len(sizes) != 1:
            raise ValueError("the periods kept do not fit together")
        return periods
