"""What the desk does to cases before handling: from a report by people to filing, or to merging."""

from dataclasses import replace
from typing import Final

from psycopg import sql

from alerts import case as cases
from alerts.audit import acting
from alerts.case import Move
from alerts.case_actions import CaseActions
from alerts.case_rows import add_case, lock_case, next_case_no
from alerts.clock_rows import (
    handle_due,
    handle_limit,
    limit_seconds,
    run_clocks,
)
from alerts.dossier import Dossier
from alerts.filing import entry_of, tell
from alerts.journal import append
from alerts.likeness import propose
from alerts.message import CANCELLED
from alerts.office import CENTRE
from alerts.rows import select
from alerts.staff import Filing, Outcome, act_of
from core.errors import ConflictError, NotFoundError
from core.model import Severity, Text
from devices.ownership import resolve_department

SOURCES: Final = ("hotline", "inspector", "public", "video")
"""Who reports beside sensors: 12345, 监督员, 公众, 视频."""
_KNOWN: Final = sql.SQL("""
SELECT case_no FROM hub.case WHERE source = %(source)s AND report_no = %(report_no)s
""")
_MOVE_ALARMS: Final = """
UPDATE hub.alarm SET case_no = %s, version = version + 1 WHERE case_no = %s
"""
_JOIN: Final = sql.SQL("""
UPDATE hub.alarm SET case_no = %(case_no)s, version = version + 1
 WHERE incident_id = %(incident_id)s AND case_no IS NULL AND audience = 'city'
   AND condition_state <> 'cleared' AND NOT retroactive
RETURNING alarm_id
""")
_DECIDED: Final = """
UPDATE hub.merge_proposal SET decision = %(decision)s
 WHERE case_no = %(case_no)s AND coalesce(into_no, incident_id::text) = %(target)s
"""


class DeskActions(CaseActions):
    """The actions of acceptance clerks (受理员) on cases."""

    async def report(
        self,
        *,
        actor: str,
        source: str,
        category: str,
        class_code: str,
        description: str,
        lon: float | None = None,
        lat: float | None = None,
        address: str = "",
        grid_code: str | None = None,
        component_code: str | None = None,
        severity: int = Severity.YELLOW,
        reporter: str = "",
        report_no: str | None = None,
    ) -> Filing:
        """Take in what people report (上报); what sensors saw near by is proposed for merging.

        Raises:
            ConflictError: The source's number is known already; the answer names the case.
        """
        now = self._clock.now()
        act = act_of(actor, "report", "case", "new", source=source, report_no=report_no)
        async with acting(self._pool, act, now) as conn:
            known = await select(conn, _KNOWN, {"source": source, "report_no": report_no})
            if known:
                case_no = known[0]["case_no"]
                raise ConflictError(
                    Text(f"{report_no}已登记为{case_no}", f"{report_no} is known as {case_no}")
                )
            route = await resolve_department(
                conn,
                category="component" if category == "component" else "event",
                class_code=class_code,
                at=now,
                component_code=component_code,
                grid_code=grid_code,
            )
            code, rank = route.class_code or class_code, Severity(severity)
            limit = await handle_limit(conn, category, code, rank, now)
            case = cases.Case(
                case_no=await next_case_no(conn, self._office, now),
                source=source,
                category=category,
                class_code=code,
                component_code=component_code,
                grid_code=route.grid_code,
                address=address,
                lon=lon,
                lat=lat,
                description_zh=description,
                description_en=description,
                severity=rank,
                owner_dept=route.dept_code or CENTRE,
                routed_by=route.rule,
                reported_at=now,
                handle_limit_s=limit_seconds(limit),
                handle_amount=limit.amount,
                limit_unit=limit.unit,
                reporter=reporter,
                report_no=report_no,
            )
            await add_case(conn, case)
            await run_clocks(conn, case, ["reported"], now, None)
            alike = await propose(conn, case, now)
            entry = entry_of(case, Move("reported", "", case.state), None, actor)
            entry = replace(entry, detail=entry.detail | {"source": source, "alike": alike})
            (event_id,) = await append(conn, [entry], now)
            return Filing(case.case_no, case.version, event_id)

    async def accept(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """Accept a reported case (受理)."""
        async with self._on_case(act_of(actor, "accept", "case", case_no), version) as dossier:
            at = dossier.case.accepted_at or dossier.now
            dossier.moved(cases.move(dossier.case, "accepted", accepted_at=at))
            return await _done(dossier)

    async def request_check(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Have somebody look before it is filed (核实); filing waits, and nobody is charged."""
        act = act_of(actor, "request_check", "case", case_no, reason=reason)
        async with self._on_case(act, version) as dossier:
            dossier.moved(cases.move(dossier.case, "verify_requested", reason=reason))
            return await _done(dossier)

    async def confirm(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """Say that it is as reported (核实属实): it returns to where it came from."""
        async with self._on_case(act_of(actor, "confirm", "case", case_no), version) as dossier:
            dossier.moved(cases.confirm(dossier.case))
            return await _done(dossier)

    async def file_case(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """File an accepted case (立案): from here only verification closes it."""
        async with self._on_case(act_of(actor, "file", "case", case_no), version) as dossier:
            due = await handle_due(dossier.conn, dossier.case, dossier.now)
            dossier.moved(cases.file(dossier.case, dossier.now, due=due))
            return await _done(dossier)

    async def reject(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Refuse to file it (不予立案)."""
        return await self._drop(case_no, "rejected", actor, reason, version)

    async def void(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Declare it void before it is filed (作废)."""
        return await self._drop(case_no, "voided", actor, reason, version)

    async def merge(
        self, case_no: str, *, actor: str, into: str, version: int | None = None
    ) -> Outcome:
        """Merge it into another case (并案), which its alarms go with."""
        act = act_of(actor, "merge", "case", case_no, into=into)
        async with self._on_case(act, version) as dossier:
            survivor = await lock_case(dossier.conn, into)
            if survivor is None:
                raise NotFoundError(Text(f"没有案件 {into}", f"there is no case {into}"))
            before = dossier.case
            merged = cases.merge(before, survivor)
            order = dossier.order
            if order is not None and order.state in cases.ORDER_MOVES["cancelled"][0]:
                dossier.order_moved(cases.move_order(order, "cancelled"))
                await tell(
                    dossier.conn,
                    CANCELLED,
                    before,
                    dossier.order,
                    dossier.first,
                    office=self._office,
                    now=dossier.now,
                )
            dossier.moved(merged)
            await dossier.conn.execute(_MOVE_ALARMS, [into, case_no])
            named = {"decision": "merged", "case_no": case_no, "target": into}
            await dossier.conn.execute(_DECIDED, named)
            return await _done(dossier)

    async def join(
        self, case_no: str, *, actor: str, incident_id: int, version: int | None = None
    ) -> Outcome:
        """Let a case that people reported take in what sensors saw, so that they verify it."""
        act = act_of(actor, "join", "case", case_no, incident_id=incident_id)
        async with self._on_case(act, version) as dossier:
            case = dossier.case
            if case.state not in cases.OPEN or case.incident_id is not None:
                raise ConflictError(
                    Text(f"案件{case_no}不能关联事件簇", f"case {case_no} cannot take an incident")
                )
            named = {"case_no": case_no, "incident_id": incident_id}
            joined = [row["alarm_id"] for row in await select(dossier.conn, _JOIN, named)]
            if not joined:
                raise ConflictError(
                    Text(
                        f"事件簇{incident_id}没有未立案的告警",
                        f"incident {incident_id} has no alarm without a case",
                    )
                )
            decided = {"decision": "joined", "case_no": case_no, "target": str(incident_id)}
            await dossier.conn.execute(_DECIDED, decided)
            dossier.case = replace(case, incident_id=incident_id)
            dossier.noted(Move("joined", case.state, case.state), {"alarm_ids": joined})
            return await _done(dossier)

    async def _drop(
        self, case_no: str, action: str, actor: str, reason: str, version: int | None
    ) -> Outcome:
        act = act_of(actor, action, "case", case_no, reason=reason)
        async with self._on_case(act, version) as dossier:
            dossier.moved(cases.move(dossier.case, action, reason=reason))
            return await _done(dossier)


async def _done(dossier: Dossier) -> Outcome:
    event_id = await dossier.save()
    return Outcome(dossier.case.version, event_id)
