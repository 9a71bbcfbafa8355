"""What staff do to incidents (事件簇): take note of all at once, put together, take apart."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from psycopg import sql
from psycopg.types.json import Jsonb

from alerts.alarm import Ack, Alarm, Suppression, acknowledge
from alerts.alarm_rows import lock_alarms, save_alarms
from alerts.audit import Act, acting, check_version
from alerts.dossier import alarm_entry
from alerts.facts import load_facts
from alerts.grouping import incident_name
from alerts.incident_rows import mark_merged, open_incidents, turn_incidents
from alerts.journal import Entry, append
from alerts.message import Evidence
from alerts.rows import select
from alerts.staff import Outcome, Staff, act_of
from alerts.suppression import release
from core.db import Connection
from core.errors import ConflictError, NotFoundError
from core.failpoint import passing
from core.model import Text

_INCIDENT: Final = sql.SQL("""
SELECT incident_id, version, state, title_zh, title_en FROM hub.incident
 WHERE incident_id = ANY (%(ids)s) ORDER BY incident_id
""")
_MEMBERS: Final = sql.SQL("""
SELECT alarm_id FROM hub.alarm WHERE incident_id = %(incident_id)s
   AND (condition_state <> 'cleared' OR latched AND reset_at IS NULL OR ack_state = 'unacked')
""")
_PLAIN: Final = "UPDATE hub.incident SET family = NULL WHERE incident_id = ANY (%s)"
_TOUCH: Final = "UPDATE hub.incident SET version = version + 1 WHERE incident_id = %s"
_NOTE: Final = """
INSERT INTO hub.audit (at, actor, action, object, object_id, detail)
SELECT %(at)s, %(actor)s, 'acknowledge', 'alarm', n::text, %(detail)s
  FROM unnest(%(alarms)s::int8[]) AS n
"""


class IncidentActions(Staff):
    """The actions on incidents."""

    async def acknowledge_incident(
        self, incident_id: int, *, actor: str, version: int | None = None
    ) -> Outcome:
        """Take note of all alarms of an incident that nobody has taken note of (成组确认)."""
        act = act_of(actor, "acknowledge", "incident", incident_id)
        async with acting(self._pool, act, self._clock.now()) as conn:
            now = self._clock.now()
            several = await self._members(conn, act, incident_id, version)
            waiting = [item for item in several if item.alarm.ack_state is Ack.UNACKED]
            if not waiting:
                raise ConflictError(
                    Text("该事件簇的告警均已确认", "all its alarms are acknowledged")
                )
            entries, acked = [], []
            for item in waiting:
                alarm, event = acknowledge(item.alarm, actor, now)
                alarm = replace(alarm, version=alarm.version + 1, timer_at=now)
                acked.append(alarm)
                entries.append(alarm_entry(event, replace(item, alarm=alarm), actor))
            await save_alarms(conn, acked)
            await conn.execute(_TOUCH, [incident_id])
            numbers = [item.alarm.alarm_id for item in waiting]
            detail = Jsonb({"incident_id": incident_id})
            noted = {"at": now, "actor": actor, "detail": detail, "alarms": numbers}
            await conn.execute(_NOTE, noted)
            passing("actions.before_events")
            entries.append(_line(act, "acknowledged", {"alarms": numbers}))
            return await self._done(conn, incident_id, entries, now)

    async def merge_incidents(
        self,
        incident_id: int,
        *,
        actor: str,
        reason: str,
        others: Sequence[int],
        version: int | None = None,
    ) -> Outcome:
        """Put the open alarms of other incidents into one (合并); none is quieter for it.

        Args:
            incident_id: The one that stays.
            actor: Who.
            reason: Why.
            others: The ones that are closed by it.
            version: What the person saw of the one that stays.
        """
        gone = sorted(set(others) - {incident_id})
        act = act_of(actor, "merge", "incident", incident_id, reason=reason, others=gone)
        async with acting(self._pool, act, self._clock.now()) as conn:
            now = self._clock.now()
            _check_reason(reason)
            if not gone:
                raise ConflictError(Text("请选择要并入的事件簇", "name the incidents to merge"))
            rows = await self._open(conn, [incident_id, *gone])
            await check_version(conn, act, version, rows[incident_id]["version"], self._office)
            numbers: list[int] = []
            for each in gone:
                members = await select(conn, _MEMBERS, {"incident_id": each})
                numbers += [row["alarm_id"] for row in members]
            freed = await self._move(conn, act, numbers, incident_id, now)
            await turn_incidents(conn, [incident_id, *gone], now)
            await mark_merged(conn, dict.fromkeys(gone, incident_id))
            detail = {"others": gone, "alarms": numbers}
            entries = [*freed, _line(act, "merged_by_hand", detail, reason)]
            entries += [
                replace(_line(act, "merged", {"into": incident_id}, reason), object_id=str(each))
                for each in gone
            ]
            return await self._done(conn, incident_id, entries, now)

    async def split_incident(
        self,
        incident_id: int,
        *,
        actor: str,
        reason: str,
        alarms: Sequence[int],
        version: int | None = None,
    ) -> Outcome:
        """Take alarms out of an incident into a new one (拆分); what was quiet is told as new.

        Args:
            incident_id: The one they are in.
            actor: Who.
            reason: Why.
            alarms: Which of its alarms.
            version: What the person saw of it.
        """
        wanted = sorted(set(alarms))
        act = act_of(actor, "split", "incident", incident_id, reason=reason, alarms=wanted)
        async with acting(self._pool, act, self._clock.now()) as conn:
            now = self._clock.now()
            _check_reason(reason)
            several = await self._members(conn, act, incident_id, version)
            chosen = [item for item in several if item.alarm.alarm_id in set(wanted)]
            if len(chosen) < len(wanted) or not chosen:
                raise ConflictError(
                    Text("所选告警不在该事件簇中", "these alarms are not in that incident")
                )
            if len(chosen) == len(several):
                raise ConflictError(
                    Text("不能拆出全部告警", "an incident cannot be split from all its alarms")
                )
            first = max(chosen, key=lambda item: (item.alarm.severity, -item.alarm.alarm_id))
            (new,) = await open_incidents(conn, [(first.alarm, first.facts, first.rule)], now)
            await conn.execute(_PLAIN, [[new]])  # nothing joins by place what was taken apart
            freed = await self._move(conn, act, wanted, new, now)
            await turn_incidents(conn, [incident_id, new], now)
            detail = {"into": new, "alarms": wanted}
            entries = [*freed, _line(act, "split_by_hand", detail, reason)]
            entries.append(
                replace(
                    _line(act, "split_off", {"from": incident_id, "alarms": wanted}, reason),
                    object_id=str(new),
                )
            )
            return await self._done(conn, incident_id, entries, now)

    async def _members(
        self, conn: Connection, act: Act, incident_id: int, version: int | None
    ) -> list[Evidence]:
        """Return the alarms that something can still be done to, locked in order."""
        rows = await self._open(conn, [incident_id])
        await check_version(conn, act, version, rows[incident_id]["version"], self._office)
        members = await select(conn, _MEMBERS, {"incident_id": incident_id})
        found = await lock_alarms(conn, [row["alarm_id"] for row in members])
        facts = await load_facts(conn, {device for device, _ in found})
        rules = await self._rules(conn)
        return [
            Evidence(alarm, facts[device], rules.rule(rule_id, facts[device]))
            for (device, rule_id), alarm in found.items()
            if alarm.incident_id == incident_id
        ]

    async def _open(self, conn: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        rows = {
            row["incident_id"]: row for row in await select(conn, _INCIDENT, {"ids": list(ids)})
        }
        for incident_id in ids:
            if incident_id not in rows:
                text = f"没有事件簇 {incident_id}", f"there is no incident {incident_id}"
                raise NotFoundError(Text(*text))
            if rows[incident_id]["state"] != "open" and len(ids) > 1:
                text = f"事件簇 {incident_id} 已结束", f"incident {incident_id} is over"
                raise ConflictError(Text(*text))
        return rows

    async def _move(
        self, conn: Connection, act: Act, numbers: Sequence[int], into: int, now: datetime
    ) -> list[Entry]:
        """Move alarms; those that their old cause kept quiet are told of as new."""
        found = await lock_alarms(conn, numbers)
        facts = await load_facts(conn, {device for device, _ in found})
        rules = await self._rules(conn)
        entries: list[Entry] = []
        moved: list[Alarm] = []
        for (device, rule_id), alarm in found.items():
            evidence = Evidence(alarm, facts[device], rules.rule(rule_id, facts[device]))
            changed = replace(alarm, incident_id=into, version=alarm.version + 1, timer_at=now)
            events: Sequence[Any] = ()
            if _is_quiet_by_cause(alarm, into):
                changed, events = release(changed, now, act.action)
            moved.append(changed)
            entries += [
                alarm_entry(event, replace(evidence, alarm=changed), act.actor) for event in events
            ]
        await save_alarms(conn, moved)
        return entries

    async def _done(
        self, conn: Connection, incident_id: int, entries: Sequence[Entry], now: datetime
    ) -> Outcome:
        rows = await self._open(conn, [incident_id])
        ids = await append(conn, entries, now)
        return Outcome(rows[incident_id]["version"], ids[-1])


def _is_quiet_by_cause(alarm: Alarm, into: int) -> bool:
    return (
        alarm.is_open
        and alarm.suppression is Suppression.SUPPRESSED
        and alarm.suppressed_by != incident_name(into)
    )


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise ConflictError(Text("请填写原因", "give a reason"))


def _line(act: Act, action: str, detail: dict[str, Any], reason: str | None = None) -> Entry:
    return Entry(
        log="alarm",
        actor=act.actor,
        object="incident",
        object_id=act.object_id,
        action=action,
        reason=reason,
        detail=detail,
    )
