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
from alerts.causes import Cause
from alerts.facts import Facts, describe, load_facts, locate_all
from alerts.families import SUSPECTS
from alerts.filing import entry_of, file_alarm, files_itself
from alerts.grouping import Fresh, find_causes, incident_name, place, shade_of
from alerts.incident_rows import incidents_of, mark_merged, open_incidents, turn_incidents
from alerts.journal import Entry, append
from alerts.message import Evidence
from alerts.office import Office
from alerts.passing import Ladder, scheduled
from alerts.recurrence import Watched, case_for, may_recur, reopen, watched_cases
from alerts.roster import Roster
from alerts.standing import drop_shelves, load_shades
from alerts.suppression import Shade, inhibit
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
        under: The cause going on above a rule on a device.
        findings: What the engine itself found; the next turn reads it.
        merged: Incidents whose alarms moved, and where to.
        suspicious: There are new alarms that may speak for a node above them.
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
    under: dict[Key, Cause] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    merged: dict[int, int] = field(default_factory=dict)
    suspicious: bool = False
    entries: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _happened: list[Happened] = field(default_factory=list)
    _alarms: dict[int, Alarm] = field(default_factory=dict)
    _born: dict[int, tuple[Key, str]] = field(default_factory=dict)
    _stored: dict[Key, Track] = field(default_factory=dict)
    _filing: set[int] = field(default_factory=set)
    _touched: set[int] = field(default_factory=set)

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
        for key, cause in (await find_causes(self.conn, sorted(fresh), self.facts)).items():
            alarm = tracks[key].alarm
            if alarm is None or not alarm.is_open or alarm.incident_id == cause.incident_id:
                self.under[key] = cause
                self.shades.setdefault(key, shade_of(cause))

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
                alarm = self._moved(replace(alarm, version=alarm.version + 1), key, step)
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

    def move(self, key: Key, incident_id: int) -> None:
        """Put an alarm into another incident, and both in line with it."""
        alarm = self.tracks[key].alarm
        if alarm is None or alarm.incident_id == incident_id:
            return
        self._touched |= {incident_id, alarm.incident_id or incident_id}
        if alarm.incident_id is not None:
            self.merged[alarm.incident_id] = incident_id
        alarm = replace(alarm, incident_id=incident_id, version=alarm.version + 1)
        self._alarms[alarm.alarm_id] = alarm
        self.tracks[key] = replace(self.tracks[key], alarm=alarm)

    def _moved(self, alarm: Alarm, key: Key, step: Step) -> Alarm:
        """Return one that opens again in the incident of the cause that goes on above it."""
        cause = self.under.get(key)
        if cause is None or all(event.action != "reopened" for event in step.events):
            return alarm
        self._touched |= {cause.incident_id, alarm.incident_id or cause.incident_id}
        return replace(alarm, incident_id=cause.incident_id)

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
        changed = self._changed(numbers)
        await save_alarms(self.conn, changed)
        passing("alerts.after_change")
        await add_alarms(
            self.conn, [replace(one, alarm=self._alarms[one.alarm.alarm_id]) for one in born]
        )
        passing("alerts.after_alarm")
        await turn_incidents(self.conn, self._touched | incidents_of(changed), self.now)
        await mark_merged(self.conn, self.merged)
        passing("alerts.after_group")
        await save_pendings(self.conn, self._pendings())
        passing("alerts.after_pending")
        quiet_no_more = [h.key for h in self._happened if h.event.action == "unshelved"]
        await drop_shelves(self.conn, quiet_no_more)
        self._find_flapping()
        await self._add_findings()
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
        joined = await self._group()
        numbers = await next_numbers(self.conn, len(self._born))
        number = dict(zip(self._born, numbers, strict=True))
        incident = {number[old]: incident_id for old, incident_id in joined.items()}

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

    async def _group(self) -> dict[int, int]:
        """Return the incident of each new occurrence, by its number of the turn; begin new ones."""
        several = {
            old: Fresh(key, self._alarms[old], *self._parts(key))
            for old, (key, _) in self._born.items()
        }
        self.suspicious |= any(each.family in SUSPECTS for each in several.values())
        groups = await place(self.conn, list(several.values()), self.under)
        new = [group for group in groups if group.incident_id is None]
        firsts = [group.members[0] for group in new]
        ends = [(first.alarm, first.facts, first.rule) for first in firsts]
        ids = await open_incidents(self.conn, ends, self.now) if ends else []
        for group, incident_id in zip(new, ids, strict=True):
            group.incident_id = incident_id
        joined: dict[int, int] = {}
        for group in groups:
            assert group.incident_id is not None  # noqa: S101 - it is begun by now
            if len(group.members) > 1 or group not in new:
                self._touched.add(group.incident_id)
            for each in group.members:
                joined[each.alarm.alarm_id] = group.incident_id
            for each in group.below:
                self._quieten(each, group.incident_id)
        return joined

    def _quieten(self, each: Fresh, incident_id: int) -> None:
        """Keep a new alarm quiet whose cause came in the same turn: nobody was told of it yet."""
        alarm, events = inhibit(self._alarms[each.alarm.alarm_id], incident_name(incident_id), "")
        if not events:
            return
        self.apply(
            each.key, Step(replace(self.tracks[each.key], alarm=alarm), tuple(events)), each.rule
        )
        number = alarm.alarm_id
        self._alarms[number] = replace(self._alarms[number], notified_at=None)
        self._happened = [
            replace(one, event=replace(one.event, loud=False))
            if one.alarm.alarm_id == number
            else one
            for one in self._happened
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
        if case.severity < happened.alarm.severity:  # it joined a case that was less grave
            await self._make_graver(case.case_no, happened.alarm.severity)
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

    def _find_flapping(self) -> None:
        """Tell maintainers of the devices whose alarms flap, as a finding like any other."""
        self.findings += [
            _found_flapping(happened, self.now)
            for happened in self._happened
            if happened.event.action == FLAPPING and happened.key[1] != FLAPPING
        ]

    async def _add_findings(self) -> None:
        if not self.findings:
            return
        await self.conn.execute(LOCK_FINDINGS)
        async with self.conn.cursor() as cursor:
            await cursor.executemany(INSERT_FINDING, finding_rows(self.findings))
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
