"""What staff do to cases, from dispatch to the verdict, and to what could not be delivered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from alerts import alarm as alarms
from alerts import case as cases
from alerts.audit import Act, acting, check_version
from alerts.case import CaseState
from alerts.clock_rows import handle_due
from alerts.closing import begin_verifying, close, rework
from alerts.curve import sealed
from alerts.dossier import Dossier
from alerts.filing import issue_order, tell
from alerts.message import CANCELLED
from alerts.outbox import resend
from alerts.staff import Outcome, Staff, act_of
from alerts.verification import judge
from core.errors import ConflictError, NotFoundError
from core.model import Text

_DEPARTMENT: Final = "SELECT 1 FROM hub.department WHERE dept_code = %s"


class CaseActions(Staff):
    """The actions on cases."""

    async def dispatch(
        self, case_no: str, *, actor: str, dept: str, version: int | None = None
    ) -> Outcome:
        """Send a case to a department (派遣); whoever dispatches has taken note of its alarms."""
        act = act_of(actor, "dispatch", "case", case_no, dept=dept)
        async with self._on_case(act, version) as dossier:
            if await (await dossier.conn.execute(_DEPARTMENT, [dept])).fetchone() is None:
                raise NotFoundError(Text(f"没有部门 {dept}", f"there is no department {dept}"))
            owned = dept == dossier.case.owner_dept
            routed_by = dossier.case.routed_by if owned else "dispatcher"
            due = await handle_due(dossier.conn, dossier.case, dossier.now)
            sent = cases.dispatch(dossier.case, dept, routed_by, actor, dossier.now, due=due)
            order = await issue_order(
                dossier.conn, sent[0], dossier.first, self._office, dossier.now
            )
            await dossier.replace_order(order)
            dossier.moved(sent)
            for item in dossier.evidence:
                if item.alarm.ack_state is alarms.Ack.UNACKED:
                    acked, event = alarms.acknowledge(item.alarm, actor, dossier.now)
                    dossier.alarm_changed(item, acked, [replace(event, reason="dispatched")])
            return await _done(dossier)

    async def sign(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """Take the work order on (签收)."""
        act = act_of(actor, "sign", "case", case_no)
        async with self._on_case(act, version) as dossier:
            now = dossier.now
            moved = cases.move(dossier.case, "signed", handler=actor, signed_at=now)
            order = _order(dossier)
            dossier.order_moved(cases.move_order(order, "signed", handler=actor, signed_at=now))
            dossier.moved(moved)
            return await _done(dossier)

    async def arrive(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """Say that the crew is on site (到场)."""
        act = act_of(actor, "arrive", "case", case_no)
        async with self._on_case(act, version) as dossier:
            dossier.order_moved(
                cases.move_order(_order(dossier), "arrived", on_site_at=dossier.now)
            )
            dossier.case = replace(dossier.case, version=dossier.case.version + 1)
            return await _done(dossier)

    async def feedback(
        self, case_no: str, *, actor: str, note: str, version: int | None = None
    ) -> Outcome:
        """Report the work done (反馈)."""
        act = act_of(actor, "feedback", "case", case_no, note=note)
        async with self._on_case(act, version) as dossier:
            if not note.strip():
                raise ConflictError(Text("请填写处置情况", "feedback needs a note on the work"))
            now = dossier.now
            moved = cases.feed_back(dossier.case, note, now)
            dossier.order_moved(
                cases.move_order(_order(dossier), "done", done_at=now, feedback=note)
            )
            dossier.moved(moved)
            return await _done(dossier)

    async def return_(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Give a wrongly dispatched case back (退办): it waits for another department."""
        act = act_of(actor, "return", "case", case_no, reason=reason)
        async with self._on_case(act, version) as dossier:
            if not reason.strip():
                raise ConflictError(Text("请填写退办原因", "a return needs a reason"))
            before = dossier.case
            moved = cases.move(
                before,
                "returned",
                reason=reason,
                handling_dept=None,
                dispatched_at=None,
                auto_dispatched=False,
                return_count=before.return_count + 1,
            )
            order = _order(dossier)
            dossier.order_moved(cases.move_order(order, "returned", return_reason=reason))
            await tell(
                dossier.conn,
                CANCELLED,
                before,
                dossier.order,
                dossier.first,
                office=self._office,
                now=dossier.now,
            )
            dossier.moved(moved)
            return await _done(dossier)

    async def verify(
        self, case_no: str, *, actor: str, passed: bool, note: str, version: int | None = None
    ) -> Outcome:
        """Judge the work on site (核查): a pass closes the case, the only way to close one."""
        act = act_of(actor, "verify", "case", case_no, passed=passed, note=note)
        async with self._on_case(act, version) as dossier:
            if dossier.case.state is not CaseState.VERIFYING:
                begin_verifying(dossier)
            verdict = judge(dossier.evidence, dossier.now, passed=passed)
            record = {"at": dossier.now.isoformat(), "actor": actor, "passed": passed, "note": note}
            await dossier.add_evidence(sealed(record | verdict.record))
            if passed:
                await close(dossier, self._office, verdict.method, verdict.trusted)
            else:
                await rework(dossier, self._office, verdict.method, note)
            return await _done(dossier)

    async def resend(self, outbox_id: int, *, actor: str) -> int:
        """Bring a dead letter back to life (重发); return the id of the event."""
        act = act_of(actor, "resend", "outbox", outbox_id)
        async with acting(self._pool, act, self._clock.now()) as conn:
            return await resend(conn, outbox_id, actor=actor, now=self._clock.now())

    @asynccontextmanager
    async def _on_case(self, act: Act, version: int | None) -> AsyncIterator[Dossier]:
        async with acting(self._pool, act, self._clock.now()) as conn:
            rules = await self._rules(conn)
            dossier = await Dossier.open(conn, act.object_id, act.actor, self._clock.now(), rules)
            dossier.office = self._office
            await check_version(conn, act, version, dossier.case.version, self._office)
            yield dossier


def _order(dossier: Dossier) -> cases.Order:
    if dossier.order is None:
        raise ConflictError(Text("尚无任务单", "there is no work order yet"))
    return dossier.order


async def _done(dossier: Dossier) -> Outcome:
    event_id = await dossier.save()
    return Outcome(dossier.case.version, event_id)
