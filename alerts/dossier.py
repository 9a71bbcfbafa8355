"""A case with all that belongs to it, locked, changed in memory, and written in one go."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Self

from psycopg.types.json import Jsonb

from alerts.alarm import Alarm, Event
from alerts.alarm_rows import Key, lock_alarms, save_alarm
from alerts.case import Case, Move, Order
from alerts.case_rows import alarms_of, lock_case, lock_order
from alerts.clock_rows import run_clocks
from alerts.facts import Facts, describe, load_facts
from alerts.filing import entry_of, tell_steps
from alerts.journal import Entry, append
from alerts.message import Evidence
from alerts.office import Office
from alerts.rows import update
from core.db import Connection
from core.errors import NotFoundError
from core.model import Text
from devices.rulebook import Rulebook

_EVIDENCE: Final = "UPDATE hub.case SET verify_evidence = verify_evidence || %s WHERE case_no = %s"


@dataclass(slots=True, kw_only=True)
class Dossier:
    """One action's unit of work on a case.

    Attributes:
        conn: The one transaction.
        actor: Who acts.
        now: The hub's time.
        case: The case as it now stands in memory.
        order: Its newest main work order.
        alarms: Its alarms by device and rule.
        facts: What is known of their devices.
        rules: The rules of the city.
        office: Who tells other systems of it.
        entries: Lines of the log, in order.
    """

    conn: Connection
    actor: str
    now: datetime
    case: Case
    order: Order | None
    alarms: dict[Key, Alarm]
    facts: dict[int, Facts]
    rules: Rulebook
    office: Office = field(default_factory=Office)
    entries: list[Entry] = field(default_factory=list)
    _steps: list[str] = field(default_factory=list)
    _stored: tuple[Case, Order | None, dict[Key, Alarm]]

    @classmethod
    async def open(
        cls, conn: Connection, case_no: str, actor: str, now: datetime, rules: Rulebook
    ) -> Self:
        """Lock a case and its alarms, alarms first as everybody does.

        Raises:
            NotFoundError: There is no such case.
        """
        alarms = await lock_alarms(conn, await alarms_of(conn, case_no))
        case = await lock_case(conn, case_no)
        if case is None:
            raise NotFoundError(Text(f"没有案件 {case_no}", f"there is no case {case_no}"))
        order = await lock_order(conn, case_no)
        return cls(
            conn=conn,
            actor=actor,
            now=now,
            case=case,
            order=order,
            alarms=alarms,
            facts=await load_facts(conn, {device for device, _ in alarms}),
            rules=rules,
            _stored=(case, order, dict(alarms)),
        )

    @property
    def evidence(self) -> list[Evidence]:
        """Its alarms with what is known around them, oldest first."""
        items = sorted(self.alarms.items(), key=lambda item: item[1].alarm_id)
        return [
            Evidence(alarm, self.facts[key[0]], self.rules.rule(key[1], self.facts[key[0]]))
            for key, alarm in items
        ]

    @property
    def first(self) -> Evidence | None:
        """The alarm that made the case."""
        return next(iter(self.evidence), None)

    def moved(self, result: tuple[Case, Move]) -> None:
        """Take over a move of the case."""
        self.case, step = result
        self._steps.append(step.action)
        if self.case.version == self._stored[0].version:
            self.case = replace(self.case, version=self.case.version + 1)
        self.entries.append(entry_of(self.case, step, self.first, self.actor, self.order))

    def order_moved(self, result: tuple[Order, Move]) -> None:
        """Take over a move of the work order."""
        order, step = result
        if step.action == "arrived":  # the one step of an order that a clock of its case waits for
            self._steps.append(step.action)
        self.order = replace(order, version=order.version + 1)
        self.entries.append(
            Entry(
                log="case",
                actor=self.actor,
                object="work_order",
                object_id=order.order_no,
                action=step.action,
                before=step.before,
                after=step.after,
                reason=step.reason,
                detail={"case_no": self.case.case_no, "dept_code": order.dept_code},
            )
        )

    def alarm_changed(self, item: Evidence, alarm: Alarm, events: list[Event]) -> None:
        """Take over a change of one of its alarms."""
        if not events:
            return
        alarm = replace(alarm, version=alarm.version + 1)
        self.alarms[item.facts.device_no, item.rule.rule_id] = alarm
        self.entries += [
            alarm_entry(event, replace(item, alarm=alarm), self.actor) for event in events
        ]

    def noted(self, step: Move, detail: dict[str, Any]) -> None:
        """Write a line of the log about something that moves the case nowhere; its clocks too."""
        if self.case.version == self._stored[0].version and self.case != self._stored[0]:
            self.case = replace(self.case, version=self.case.version + 1)
        self._steps.append(step.action)
        entry = entry_of(self.case, step, self.first, self.actor, self.order)
        self.entries.append(replace(entry, detail=entry.detail | detail))

    def remark(self, result: str, reason: str) -> None:
        """Write down how far the verification is, while the case stays where it is."""
        case = replace(self.case, verify_result=result)
        self.moved((case, Move(result, case.state, case.state, reason)))

    def look_again(self, at: datetime | None) -> None:
        """Say when the hub looks at the case again; nobody's version goes stale by that."""
        self.case = replace(self.case, look_at=at)

    async def add_evidence(self, record: dict[str, Any]) -> None:
        """Keep a record of a verification with the case."""
        await self.conn.execute(_EVIDENCE, [Jsonb([record]), self.case.case_no])

    async def save(self) -> int:
        """Write all that changed, then the log, as the last act of the transaction.

        Returns:
            The id of the last event; 0: nothing was to be told.
        """
        case, order, alarms = self._stored
        for key, alarm in self.alarms.items():
            await save_alarm(self.conn, alarms[key], alarm, self.now)
        await update(self.conn, "case", "case_no", case, self.case)
        rule = self.first.rule if self.first else None
        await run_clocks(self.conn, self.case, self._steps, self.now, rule)
        if order is not None and self.order is not None and order.order_no == self.order.order_no:
            await update(self.conn, "work_order", "order_no", order, self.order)
        await tell_steps(
            self.conn,
            self._steps,
            self.case,
            self.order,
            self.first,
            office=self.office,
            now=self.now,
        )
        return max(await append(self.conn, self.entries, self.now), default=0)

    async def replace_order(self, order: Order) -> None:
        """Go on with a new work order, which is already added; write what became of the old one."""
        _, old, alarms = self._stored
        if old is not None and self.order is not None:
            await update(self.conn, "work_order", "order_no", old, self.order)
        self.order = order
        self._stored = (self._stored[0], order, alarms)


def alarm_entry(event: Event, item: Evidence, actor: str) -> Entry:
    """Return the line of the log for a transition of an alarm."""
    return Entry(
        log="alarm",
        actor=actor,
        object="alarm",
        object_id=str(item.alarm.alarm_id),
        action=event.action,
        before=event.before,
        after=event.after,
        reason=event.reason,
        detail=describe(item.alarm, item.facts, item.rule) | {"loud": event.loud, **event.detail},
    )
