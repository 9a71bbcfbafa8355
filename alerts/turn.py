"""One turn of the engine: tracks in hand, locked, changed in memory, and written in one go.

What is decided in memory is written set by set at the end, so a turn of a thousand findings asks
the database little more often than a turn of one. A test crashes it between any two of the writes.

Order of locks, for everybody who writes: cursor, alarms by number, cases, findings, log of events.
The log comes last, since its lock is held to the end of the transaction.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from alerts.alarm import HUB, Alarm, Event
from alerts.alarm_rows import (
    Born,
    Key,
    add_alarms,
    lock_tracks,
    next_numbers,
    save_alarms,
    save_pendings,
    work_nearby,
)
from alerts.case import FINAL, CaseState, Move
from alerts.case_rows import lock_case
from alerts.facts import Facts, describe, load_facts, locate_all
from alerts.filing import entry_of, file_alarm, files_itself
from alerts.incident_rows import open_incidents
from alerts.journal import Entry, append
from alerts.message import Evidence
from alerts.office import Office
from alerts.passing import Ladder, scheduled
from alerts.recurrence import Watched, case_for, may_recur, reopen, watched_cases
from alerts.roster import Roster
from alerts.standing import drop_shelves, load_shades
from alerts.suppression import Shade
from alerts.track import Pending, Step, Track
from core.batch import Finding
from core.db import Connection
from core.failpoint import passing
from core.findings import INSERT_FINDING, LOCK_FINDINGS, NOTIFY_FINDING, finding_rows
from core.model import Edge, Severity, Text, to_micros
from devices.kind import AlarmRule
from devices.rulebook import Rulebook

_GRAVER: Final = "UPDATE hub.case SET severity = %s, version = version + 1 WHERE case_no = %s"
FLAPPING: Final = "flapping"
"""The rule of device care that a flapping alarm is a finding for."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A transition, as the alarm then stood, and what it means for a case."""

    key: Key
    alarm: Alarm
    rule: AlarmRule
    event: Event
    files: bool = False


@dataclass(slots=True)
class Turn:
    """The engine's unit of work.

    Attributes:
        conn: The one transaction.
        office: Who files.
        now: The hub's time of this turn.
        rules: The rules of the city.
        roster: Who is told when nobody takes note.
        tracks: What there is, by device and rule, as it stands in memory.
        facts: What is known of the devices.
        shades: What keeps a rule on a device quiet.
        entries: Lines of the log, in order, appended at the end.
        counts: Transitions by action, for the metrics.
    """

    conn: Connection
    office: Office
    now: datetime
    rules: Rulebook = field(default_factory=Rulebook)
    roster: Roster = field(default_factory=Roster)
    tracks: dict[Key, Track] = field(default_factory=dict)
    facts: dict[int, Facts] = field(default_factory=dict)
    shades: dict[Key, Shade] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _happened: list[Happened] = field(default_factory=list)
    _alarms: dict[int, Alarm] = field(default_factory=dict)
    _born: dict[int, tuple[Key, str]] = field(default_factory=dict)
    _stored: dict[Key, Track] = field(default_factory=dict)
    _filing: set[int] = field(default_factory=set)

    @property
    def ladder(self) -> Ladder:
        """Who is told when nobody takes note."""
        return self.roster.ladder

    async def take(self, keys: Iterable[Key]) -> None:
        """Load and lock what there is for some keys, with their devices.

        All alarms of a turn are taken before the first is changed: that keeps the order of locks.
        """
        fresh = {key for key in keys if key not in self.tracks}
        if not fresh:
            return
        tracks = await lock_tracks(self.conn, fresh)
        self.tracks |= tracks
        self._stored |= tracks
        self.facts |= await load_facts(self.conn, {device for device, _ in fresh})
        states = {device: facts.state for device, facts in self.facts.items()}
        self.shades |= await load_shades(self.conn, sorted(fresh), states, self.now)

    def rule(self, key: Key) -> AlarmRule:
        """Return what a finding of this key means in this city now."""
        return self.rules.rule(key[1], self.facts[key[0]])

    def apply(self, key: Key, step: Step, rule: AlarmRule, kind: str = "") -> None:
        """Take over what a pure function made of a track."""
        if step.near_miss:
            self.counts["near_miss"] += 1
        track = scheduled(step.track, rule, self.ladder)
        alarm = track.alarm
        if alarm is not None:
            if alarm.alarm_id == 0:
                alarm = self._number(alarm, key, kind)
            elif step.events:
                alarm = replace(alarm, version=alarm.version + 1)
            track = replace(track, alarm=alarm)
            self._alarms[alarm.alarm_id] = alarm
            for place, event in enumerate(step.events):
                last = place == len(step.events) - 1
                files = last and alarm.alarm_id not in self._filing and files_itself(alarm, rule)
                self._happened.append(Happened(key, alarm, rule, event, files))
                self.counts[event.action] += 1
                if files:
                    self._filing.add(alarm.alarm_id)
        self.tracks[key] = track

    def kind_of(self, track: Track, rule: AlarmRule) -> str:
        """Return what was seen by the finding that still waits, for an alarm that time raises."""
        return track.pending.finding.kind if track.pending is not None else rule.rule_id

    async def finish(self) -> None:
        """Write all that changed, then the log, as the last act of the transaction."""
        born = await self._bear()
        passing("alerts.after_incident")
        await self._tell()
        passing("alerts.after_case")
        numbers = {one.alarm.alarm_id for one in born}
        await save_alarms(self.conn, self._changed(numbers), self.now)
        passing("alerts.after_change")
        await add_alarms(
            self.conn, [replace(one, alarm=self._alarms[one.alarm.alarm_id]) for one in born]
        )
        passing("alerts.after_alarm")
        await save_pendings(self.conn, self._pendings())
        passing("alerts.after_pending")
        quiet_no_more = [h.key for h in self._happened if h.event.action == "unshelved"]
        await drop_shelves(self.conn, quiet_no_more)
        await self._find_flapping()
        passing("alerts.before_events")
        await append(self.conn, self.entries, self.now)

    def _number(self, alarm: Alarm, key: Key, kind: str) -> Alarm:
        """Return a new occurrence with a number of its own, negative until it is written."""
        placeholder = -len(self._born) - 1
        self._born[placeholder] = key, kind
        version = self.rules.version(key[1], self.facts[key[0]])
        return replace(alarm, alarm_id=placeholder, rule_version=version)

    async def _bear(self) -> list[Born]:
        """Give new occurrences their numbers, places and incidents, in all that speaks of them."""
        if not self._born:
            return []
        await self._locate()
        numbers = await next_numbers(self.conn, len(self._born))
        number = dict(zip(self._born, numbers, strict=True))
        ends = [(self._alarms[old], *self._parts(self._born[old][0])) for old in self._born]
        incidents = await open_incidents(self.conn, ends, self.now)
        incident = dict(zip(numbers, incidents, strict=True))

        def named(alarm: Alarm) -> Alarm:
            alarm_id = number.get(alarm.alarm_id, alarm.alarm_id)
            before = alarm.previous_alarm_id
            return replace(
                alarm,
                alarm_id=alarm_id,
                previous_alarm_id=number.get(before, before) if before is not None else None,
                incident_id=incident.get(alarm_id, alarm.incident_id),
            )

        self._alarms = {alarm.alarm_id: alarm for alarm in map(named, self._alarms.values())}
        self._happened = [replace(each, alarm=named(each.alarm)) for each in self._happened]
        self.tracks = {
            key: track if track.alarm is None else replace(track, alarm=named(track.alarm))
            for key, track in self.tracks.items()
        }
        several = [self.facts[key[0]] for key, _ in self._born.values()]
        nearby = await work_nearby(self.conn, several)
        return [
            Born(self._alarms[number[old]], *self._parts(key), kind, orders)
            for (old, (key, kind)), orders in zip(self._born.items(), nearby, strict=True)
        ]

    def _parts(self, key: Key) -> tuple[Facts, AlarmRule]:
        return self.facts[key[0]], self.rule(key)

    async def _locate(self) -> None:
        """Look up where devices that move were when they raised."""
        at = {
            self._born[old][0][0]: self._alarms[old].last_seen_at
            for old in self._born
            if self.facts[self._born[old][0][0]].moves
        }
        self.facts |= await locate_all(self.conn, {no: self.facts[no] for no in at}, at)

    async def _tell(self) -> None:
        """Write the lines of the log in order, with the cases that transitions make or change."""
        cases: dict[int, str] = {}
        watched = await self._watched()
        for happened in self._happened:
            alarm = happened.alarm
            alarm = replace(alarm, case_no=alarm.case_no or cases.get(alarm.alarm_id))
            self.entries.append(self._entry(happened, alarm))
            if again := await self._reopen(replace(happened, alarm=alarm), watched):
                cases[alarm.alarm_id] = again
            elif happened.files:
                cases[alarm.alarm_id] = await self._file(happened)
            elif alarm.case_no and happened.event.action == "severity_raised":
                await self._make_graver(alarm.case_no, alarm.severity)
        for alarm_id, case_no in cases.items():
            self._alarms[alarm_id] = replace(self._alarms[alarm_id], case_no=case_no)

    def _entry(self, happened: Happened, alarm: Alarm) -> Entry:
        event = happened.event
        detail = describe(alarm, self.facts[happened.key[0]], happened.rule)
        detail |= {"loud": event.loud, **event.detail}
        if event.action == "escalated":
            detail["people"] = self.roster.on_duty(str(event.detail["role"]))
        return Entry(
            log="alarm",
            actor=HUB,
            object="alarm",
            object_id=str(alarm.alarm_id),
            action=event.action,
            before=event.before,
            after=event.after,
            reason=event.reason,
            detail=detail,
        )

    def _changed(self, born: set[int]) -> list[Alarm]:
        """Return alarms that were there before and are another now."""
        stored = {t.alarm.alarm_id: t.alarm for t in self._stored.values() if t.alarm}
        return [
            alarm
            for alarm_id, alarm in sorted(self._alarms.items())
            if alarm_id not in born and alarm != stored.get(alarm_id)
        ]

    def _pendings(self) -> dict[Key, tuple[Pending | None, AlarmRule]]:
        return {
            key: (track.pending, self.rule(key))
            for key, track in self.tracks.items()
            if track.pending != self._stored[key].pending
        }

    async def _file(self, happened: Happened) -> str:
        evidence = Evidence(happened.alarm, self.facts[happened.key[0]], happened.rule)
        case, entries = await file_alarm(
            self.conn, evidence, self.office, self.now, actor=HUB, goes_on=True
        )
        self.entries += entries
        self.counts.update(entry.action for entry in entries)
        return case.case_no

    async def _watched(self) -> Watched:
        """Return the cases that what happened may be the return of."""
        devices = {
            each.key[0]
            for each in self._happened
            if may_recur(each.alarm, each.rule, each.event.action)
        }
        return await watched_cases(self.conn, devices, self.now)

    async def _reopen(self, happened: Happened, watched: Watched) -> str | None:
        """Reopen the case that an alarm is the return of; return its number."""
        if not may_recur(happened.alarm, happened.rule, happened.event.action):
            return None
        facts = self.facts[happened.key[0]]
        case_no = case_for(watched, facts, happened.rule)
        if case_no is None:
            return None
        alarm = replace(happened.alarm, case_no=case_no)
        evidence = Evidence(alarm, facts, happened.rule)
        entries = await reopen(self.conn, case_no, evidence, self.office, self.now)
        self.entries += entries
        self.counts.update(entry.action for entry in entries)
        return case_no if entries else None

    async def _make_graver(self, case_no: str, severity: Severity) -> None:
        case = await lock_case(self.conn, case_no)
        if case is None or case.state in FINAL | {CaseState.CLOSED} or case.severity >= severity:
            return
        await self.conn.execute(_GRAVER, [severity, case_no])
        before, after = case.severity.name.lower(), severity.name.lower()
        case = replace(case, severity=severity, version=case.version + 1)
        self.entries.append(entry_of(case, Move("severity_raised", before, after), None, HUB))

    async def _find_flapping(self) -> None:
        """Tell maintainers of the devices whose alarms flap, as a finding like any other."""
        flapping = [
            happened
            for happened in self._happened
            if happened.event.action == FLAPPING and happened.key[1] != FLAPPING
        ]
        if not flapping:
            return
        await self.conn.execute(LOCK_FINDINGS)
        async with self.conn.cursor() as cursor:
            rows = finding_rows([_found_flapping(each, self.now) for each in flapping])
            await cursor.executemany(INSERT_FINDING, rows)
        await self.conn.execute(NOTIFY_FINDING)


def _found_flapping(happened: Happened, now: datetime) -> Finding:
    alarm, label = happened.alarm, happened.rule.label
    ts = to_micros(max(*alarm.turns, *alarm.raises, alarm.started_at))
    return Finding(
        device_no=happened.key[0],
        rule_id=FLAPPING,
        detector="alerts",
        kind=happened.rule.rule_id,
        edge=Edge.ONCE,
        ts=ts,
        first_ts=ts,
        received_at=max(ts, to_micros(now)),
        severity=Severity.BLUE,
        explain=Text(
            f"告警“{label.zh}”反复出现与恢复，请检查设备或阈值",
            f"the alarm '{label.en}' keeps coming and going: see to the device or its limit",
        ),
    )
