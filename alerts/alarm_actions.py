"""What staff do to alarms: take note, reset, shelve, and make a case."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from alerts import alarm as alarms
from alerts.alarm import Alarm, Event, Suppression
from alerts.alarm_rows import Key, lock_alarms, save_alarm
from alerts.audit import Act, acting, check_version
from alerts.dossier import alarm_entry
from alerts.facts import load_facts
from alerts.filing import file_alarm
from alerts.journal import append
from alerts.message import Evidence
from alerts.roster import role_of
from alerts.staff import Filing, Outcome, Staff, act_of
from alerts.standing import drop_shelves, put_on_shelf
from alerts.suppression import Shade, check_shelf, cover, unshelve
from core.db import Connection
from core.errors import NotFoundError
from core.failpoint import passing
from core.model import Text


class AlarmActions(Staff):
    """The actions on alarms."""

    async def acknowledge(
        self, alarm_id: int, *, actor: str, version: int | None = None
    ) -> Outcome:
        """Take note of an alarm: it stops sounding."""
        act = act_of(actor, "acknowledge", "alarm", alarm_id)
        return await self._on_alarm(act, version, lambda a, now: alarms.acknowledge(a, actor, now))

    async def undo_acknowledge(
        self, alarm_id: int, *, actor: str, version: int | None = None
    ) -> Outcome:
        """Take the own acknowledgement back, within seconds."""
        act = act_of(actor, "undo_acknowledge", "alarm", alarm_id)
        return await self._on_alarm(
            act, version, lambda a, now: alarms.undo_acknowledge(a, actor, now)
        )

    async def reset_alarm(
        self, alarm_id: int, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Let go of a latched alarm whose condition is over."""
        act = act_of(actor, "reset_alarm", "alarm", alarm_id, reason=reason)
        return await self._on_alarm(
            act, version, lambda a, now: alarms.reset(a, actor, reason, now)
        )

    async def file(self, alarm_id: int, *, actor: str, version: int | None = None) -> Filing:
        """Make a case of an alarm (立案); dispatching it is a further decision."""
        act = act_of(actor, "file", "alarm", alarm_id)
        async with acting(self._pool, act, self._clock.now()) as conn:
            now = self._clock.now()
            item = await self._lock(conn, alarm_id)
            await check_version(conn, act, version, item.alarm.version, self._office)
            case, entries = await file_alarm(
                conn, item, self._office, now, actor=actor, goes_on=False
            )
            filed = replace(item.alarm, case_no=case.case_no, version=item.alarm.version + 1)
            await save_alarm(conn, item.alarm, filed, now)
            ids = await append(conn, entries, now)
        return Filing(case.case_no, case.version, ids[-1])

    async def shelve(
        self,
        alarm_id: int,
        *,
        actor: str,
        reason: str,
        minutes: float,
        once: bool = False,
        version: int | None = None,
    ) -> Outcome:
        """Keep an alarm quiet for a while (搁置); its rule on its device, so the next one, too.

        Args:
            alarm_id: Which.
            actor: Who; the role that the city gave this name sets the limits.
            reason: Why.
            minutes: For how long.
            once: It ends with the condition, if that is sooner.
            version: What the person saw.
        """
        act = act_of(actor, "shelve", "alarm", alarm_id, reason=reason, minutes=minutes, once=once)
        async with acting(self._pool, act, self._clock.now()) as conn:
            now = self._clock.now()
            item = await self._lock(conn, alarm_id)
            await check_version(conn, act, version, item.alarm.version, self._office)
            until = now + timedelta(minutes=minutes)
            role = await role_of(conn, actor)
            check_shelf(item.alarm, role, until, now, reason=reason, once=once)
            shade = Shade(
                state=Suppression.SHELVED,
                by="shelf",
                until=until,
                reason=reason,
                upto=item.alarm.severity,
                once=once,
            )
            await put_on_shelf(conn, _key(item), shade, actor, now)
            return await self._save(conn, act, item, *cover(item.alarm, shade, now))

    async def unshelve(self, alarm_id: int, *, actor: str, version: int | None = None) -> Outcome:
        """Take an alarm off the shelf; what still goes on is told of as new."""
        act = act_of(actor, "unshelve", "alarm", alarm_id)
        async with acting(self._pool, act, self._clock.now()) as conn:
            item = await self._lock(conn, alarm_id)
            await check_version(conn, act, version, item.alarm.version, self._office)
            freed = unshelve(item.alarm, self._clock.now())
            await drop_shelves(conn, [_key(item)])
            return await self._save(conn, act, item, *freed)

    async def _on_alarm(
        self,
        act: Act,
        version: int | None,
        change: Callable[[Alarm, datetime], tuple[Alarm, Event]],
    ) -> Outcome:
        async with acting(self._pool, act, self._clock.now()) as conn:
            now = self._clock.now()
            item = await self._lock(conn, int(act.object_id))
            await check_version(conn, act, version, item.alarm.version, self._office)
            changed, event = change(item.alarm, now)
            return await self._save(conn, act, item, changed, [event])

    async def _save(
        self, conn: Connection, act: Act, item: Evidence, alarm: Alarm, events: list[Event]
    ) -> Outcome:
        now = self._clock.now()
        alarm = replace(alarm, version=item.alarm.version + 1)
        await save_alarm(conn, item.alarm, alarm, now)
        passing("actions.before_events")
        entries = [alarm_entry(event, replace(item, alarm=alarm), act.actor) for event in events]
        return Outcome(alarm.version, (await append(conn, entries, now))[-1])

    async def _lock(self, conn: Connection, alarm_id: int) -> Evidence:
        found = await lock_alarms(conn, [alarm_id])
        if not found:
            raise NotFoundError(Text(f"没有告警 {alarm_id}", f"there is no alarm {alarm_id}"))
        ((device_no, rule_id), alarm), *_ = found.items()
        facts = (await load_facts(conn, [device_no]))[device_no]
        rules = await self._rules(conn)
        return Evidence(alarm, facts, rules.rule(rule_id, facts))


def _key(item: Evidence) -> Key:
    return item.facts.device_no, item.rule.rule_id
