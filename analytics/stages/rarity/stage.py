"""Rarity as a stage: readings in, suspicions out.

Each watched metric of each device is a series of its own. Rows that are late, repeated or of a
doubtful clock never step it, nor do rows within an open finding of another detector on the same
metric: what is known to be wrong must not become usual.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.columns import Columns
from analytics.stages.order import fresh_rows, passes
from analytics.stages.rarity.form import Form
from analytics.stages.rarity.kernel import Change, Kernel, Points, Scored
from analytics.stages.rarity.local_time import LocalTime
from analytics.stages.rarity.memory import Alerts, Column, RarityState
from analytics.stages.rarity.sentence import band, explain, features_of
from analytics.stages.state import Rows, StatefulStage
from core.batch import Batch, Episode, Finding, Freezing, Frozen
from core.model import Edge, Severity
from devices.kind import DeviceKind
from devices.unusual import UNUSUAL, Unusual

_SECOND: Final = 1_000_000
_SEVERITIES: Final = (Severity.BLUE, Severity.BLUE, Severity.YELLOW)
_KINDS: Final = ("suspicion", "suspicion", "candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What time means to the detector.

    Attributes:
        period_s: How often a device reports, in seconds; None: rates are per row, for back-tests on
            regular series.
        mute_s: A series raises nothing for so long after its first row, in seconds.
        mute_rows: Nor for so many rows.
        zone: The city's time zone, IANA name.
    """

    period_s: float | None
    mute_s: float
    mute_rows: int = 0
    zone: str = "UTC"


Watcher = Callable[[Batch, Rows, Scored], None]
"""Is shown every score: the batch, the row of each, and the scores."""


class Rarity(StatefulStage[RarityState]):
    """One form of rarity over the metrics of one kind.

    Args:
        kind: The kind.
        metrics: Which of its metrics, in single precision.
        form: Full or lite.
        pace: What time means.
        watcher: Is shown every score, such as for a back-test.
    """

    version = 2

    def __init__(
        self,
        kind: DeviceKind,
        metrics: Sequence[str],
        form: Form,
        pace: Pace,
        *,
        watcher: Watcher | None = None,
    ) -> None:
        self.name = form.name
        self._columns = Columns(kind)
        self._metrics = [self._columns.metric(name) for name in metrics]
        if any(metric.f8 for metric in self._metrics):
            raise ValueError(f"{kind.name}: rarity watches no counters and no coordinates")
        self._place = {name: place for place, name in enumerate(metrics)}
        self._rules = _rules_on(kind)
        self._form = form
        self._features = features_of(form)
        self._pace = pace
        self._local = LocalTime(pace.zone)
        self._watcher = watcher
        super().__init__(RarityState(form, len(metrics)))
        noise = np.array([metric.noise for metric in self._metrics], np.float32)
        learns = pace.period_s is not None  # a file in a back-test has no class
        self._kernel = Kernel(
            form,
            self.state,
            prior=noise[:, None] * form.noise_scales() * np.float32(learns),
            period_us=None if pace.period_s is None else pace.period_s * _SECOND,
            mute_us=round(pace.mute_s * _SECOND),
            mute_rows=pace.mute_rows,
        )

    def apply(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`core.batch.Stage.apply`; a defect that raises leaves no trace."""
        self.state.begin()
        try:
            found = self.judge(batch)
        except BaseException:
            self.state.roll_back()
            raise
        self.state.end()
        batch.found.extend(found)
        return found

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`."""
        rows = fresh_rows(batch)
        if not len(rows):
            return []
        metrics = len(self._metrics)
        values = np.empty((len(rows), metrics), np.float32)
        for column, metric in enumerate(self._metrics):
            values[:, column] = self._columns.read(batch, metric.name, rows)
        device_no = batch.device_no[rows]
        at = self.state.rows(device_no)
        wanted = np.isfinite(values) & ~self._engaged(batch, rows, at)
        flat, ts = values.reshape(-1), batch.ts[rows]
        local = self._local.seconds(ts) if self._form.season else None
        found: list[Finding] = []
        for part in passes(device_no):
            if metrics > 1:
                which, place = np.nonzero(wanted[part])
                row = part[which]
                cell, series = row * metrics + place, at[row] * metrics + place
            else:
                cell = row = part[wanted[part, 0]]
                place, series = np.zeros_like(row), at[row]
            if not len(row):
                continue
            points = Points(
                series,
                place.astype(np.int8),
                flat[cell],
                ts[row],
                np.zeros(len(row), np.float32) if local is None else local[row],
            )
            scored = self._kernel.step(points)
            if self._watcher is not None:
                self._watcher(batch, rows[row], scored)
            found += [
                self._finding(batch, int(rows[row[change.at]]), points, scored, change)
                for change in scored.changes
            ]
        return found

    def freeze(self) -> Freezing:
        """See :meth:`core.batch.Freezes.freeze`."""
        return _Freezing(self.state, self.name, self.version)

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        place = self._place.get(episode.metric)
        if place is None:
            return
        rank = int(episode.detail.get("rank", 1)) if episode.is_open else 0
        self.state.figures[row, place, Column.OPEN] = rank
        self.state.alerts[row, place, Alerts.CALM] = 0
        self.state.opened[row, place] = episode.first_ts

    def _engaged(self, batch: Batch, rows: Rows, at: Rows) -> NDArray[np.bool_]:
        """Return ``(n, metrics)`` which values lie within an open finding of another detector."""
        open_rules = self.state.engaged[at]
        edges = [
            finding
            for finding in batch.found
            if finding.metric in self._place
            and finding.rule_id in self._rules
            and finding.edge in {Edge.OPEN, Edge.CLEAR}
        ]
        for finding in sorted(edges, key=lambda finding: finding.ts):
            place, bit = self._place[finding.metric], self._rules[finding.rule_id]
            later = batch.device_no[rows] == finding.device_no
            if not later.any():
                continue
            known = self.state.engaged[at[later][0], place]
            now = known | bit if finding.edge is Edge.OPEN else known & ~bit
            self.state.engage(int(at[later][0]), place, now)
            later &= batch.ts[rows] >= finding.ts
            open_rules[later, place] = now
        engaged: NDArray[np.bool_] = open_rules != 0
        return engaged

    def _finding(
        self, batch: Batch, row: int, points: Points, scored: Scored, change: Change
    ) -> Finding:
        metric = self._metrics[int(points.metric[change.at])]
        feature = self._features[change.feature]
        rank = max(change.was, change.now)
        value = float(str(points.values[change.at]))
        usual = band(change, feature)
        detail: dict[str, object] = {
            "rank": rank,
            "z": round(change.size, 3),
            "feature": feature.name,
            "rows": change.rows,
        }
        if usual is not None:
            detail |= {"lo": round(usual[0], 6), "hi": round(usual[1], 6)}
        if feature.periods and self._pace.period_s is not None:
            detail["over_s"] = round(feature.periods * self._pace.period_s)
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=UNUSUAL.rule_id,
            detector=self.name,
            kind=_KINDS[rank],
            edge=Edge.CLEAR if not change.now else Edge.UPDATE if change.was else Edge.OPEN,
            ts=int(batch.ts[row]),
            first_ts=change.opened,
            received_at=int(batch.rx[row]),
            severity=_SEVERITIES[rank],
            explain=explain(change, feature, value, metric, self._pace.period_s),
            metric=metric.name,
            value=value,
            expected=round(change.expected, 6),
            limit=self._form.candidate if rank > 1 else self._form.suspicion,
            unit=metric.unit,
            score=round(float(scored.score[change.at]), 4),
            confidence=round(min(1.0, max(0.0, change.rarity)), 3),
            quality=int(batch.quality[row]),
            rule_version=self.version,
            detail=detail,
        )


class _Freezing:
    """The state of one moment, on its way into a snapshot."""

    def __init__(self, state: RarityState, stage: str, version: int) -> None:
        self._state = state
        self._copying = state.begin_copy(stage, version)

    @property
    def size(self) -> int:
        """See :class:`core.batch.Freezing`."""
        return self._copying.size

    def advance(self, most: int) -> bool:
        """See :meth:`core.batch.Freezing.advance`."""
        if not self._copying.is_complete:
            self._state.go_on_copying(most)
        return self._copying.is_complete

    def frozen(self) -> Frozen:
        """See :meth:`core.batch.Freezing.frozen`."""
        return self._copying.frozen()


def _rules_on(kind: DeviceKind) -> Mapping[str, int]:
    """Return a bit for each rule that another detector of this kind feeds."""
    fed = {
        rule_id
        for watch in kind.watches
        if not isinstance(watch, Unusual)
        for rule_id in watch.rule_ids
    }
    return MappingProxyType({rule_id: 1 << n for n, rule_id in enumerate(sorted(fed))})
