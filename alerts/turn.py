"""One turn of the engine: tracks in hand, locked, changed in memory, and written in one go.

Order of locks, for everybody who writes: cursor, alarms by number, case, log of events. The log
comes last, since its lock is held to the end of the transaction.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from alerts.alarm import HUB, Alarm
from alerts.alarm_rows import Key, add_alarm, lock_tracks, save_alarm, save_pending
from alerts.case import FINAL, CaseState, Move
from alerts.case_rows import lock_case
from alerts.facts import Facts, describe, load_facts, locate
from alerts.filing import entry_of, file_alarm, files_itself
from alerts.journal import Entry, append
from alerts.message import Evidence
from alerts.office import Office
from alerts.track import Step, Track
from core.db import Connection
from core.failpoint import passing
from core.model import Severity
from devices.kind import AlarmRule

_GRAVER: Final = "UPDATE hub.case SET severity = %s, version = version + 1 WHERE case_no = %s"


@dataclass(slots=True)
class Turn:
    """The engine's unit of work.

    Attributes:
        conn: The one transaction.
        office: Who files.
        now: The hub's time of this turn.
        tracks: What there is, by device and rule, as it stands in memory.
        facts: What is known of the devices.
        entries: Lines of the log, in order, appended at the end.
        counts: Transitions by action, for the metrics.
    """

    conn: Connection
    office: Office
    now: datetime
    tracks: dict[Key, Track] = field(default_factory=dict)
    facts: dict[int, Facts] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _stored: dict[Key, Track] = field(default_factory=dict)

    async def take(self, keys: Iterable[Key]) -> None:
        """Load and lock what there is for some keys, with their devices."""
        fresh = {key for key in keys if key not in self.tracks}
        if not fresh:
            return
        tracks = await lock_tracks(self.conn, fresh)
        self.tracks |= tracks
        self._stored |= tracks
        self.facts |= await load_facts(self.conn, {device for device, _ in fresh})

    async def apply(self, key: Key, step: Step, rule: AlarmRule, kind: str = "") -> None:
        """Take over what a pure function made of a track; write a new alarm, and file a red one."""
        before, self.tracks[key] = self.tracks[key], step.track
        if step.near_miss:
            self.counts["near_miss"] += 1
        alarm = step.track.alarm
        if alarm is None or not step.events:
            return
        if alarm.alarm_id == 0:
            alarm = await self._add(key, before, alarm, rule, kind)
        else:
            alarm = replace(alarm, version=alarm.version + 1)
        self._set(key, alarm)
        for event in step.events:
            self.counts[event.action] += 1
            self.entries.append(
                Entry(
                    log="alarm",
                    actor=HUB,
                    object="alarm",
                    object_id=str(alarm.alarm_id),
                    action=event.action,
                    before=event.before,
                    after=event.after,
                    reason=event.reason,
                    detail=describe(alarm, self.facts[key[0]], rule) | {"loud": event.loud},
                )
            )
        if files_itself(alarm, rule):
            await self._file(key, alarm, rule)
        elif alarm.case_no and any(event.action == "severity_raised" for event in step.events):
            await self._make_graver(alarm.case_no, alarm.severity)

    async def finish(self) -> None:
        """Write all that changed, then the log, as the last act of the transaction."""
        for key, track in self.tracks.items():
            stored = self._stored[key]
            if track.pending != stored.pending:
                await save_pending(self.conn, key, track.pending)
            if track.alarm is not None and stored.alarm is not None:
                await save_alarm(self.conn, stored.alarm, track.alarm, self.now)
        passing("alerts.before_events")
        await append(self.conn, self.entries, self.now)

    async def _add(
        self, key: Key, before: Track, alarm: Alarm, rule: AlarmRule, kind: str
    ) -> Alarm:
        stored = self._stored[key]
        if stored.alarm is not None and before.alarm is not None:
            # the last occurrence may have ended in this very turn; there is one open at a time
            await save_alarm(self.conn, stored.alarm, before.alarm, self.now)
        facts = self.facts[key[0]]
        lon, lat = await locate(self.conn, facts, alarm.last_seen_at)
        self.facts[key[0]] = facts = replace(facts, lon=lon, lat=lat)
        alarm = await add_alarm(self.conn, alarm, facts, rule, kind=kind, at=self.now)
        self._stored[key] = replace(stored, alarm=alarm)
        passing("alerts.after_alarm")
        return alarm

    def _set(self, key: Key, alarm: Alarm) -> None:
        self.tracks[key] = replace(self.tracks[key], alarm=alarm)

    async def _file(self, key: Key, alarm: Alarm, rule: AlarmRule) -> None:
        evidence = Evidence(alarm, self.facts[key[0]], rule)
        case, entries = await file_alarm(
            self.conn, evidence, self.office, self.now, actor=HUB, goes_on=True
        )
        passing("alerts.after_case")
        self._set(key, replace(alarm, case_no=case.case_no))
        self.entries += entries
        self.counts.update(entry.action for entry in entries)

    async def _make_graver(self, case_no: str, severity: Severity) -> None:
        case = await lock_case(self.conn, case_no)
        if case is None or case.state in FINAL | {CaseState.CLOSED} or case.severity >= severity:
            return
        await self.conn.execute(_GRAVER, [severity, case_no])
        before, after = case.severity.name.lower(), severity.name.lower()
        case = replace(case, severity=severity, version=case.version + 1)
        self.entries.append(entry_of(case, Move("severity_raised", before, after), None, HUB))
