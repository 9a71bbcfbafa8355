"""What goes on beside the way of a case: urges, supervision, more time, and being put aside.

Urges (催办) and supervision (督办) are counted events, not states; an extension (延期) and a
suspension (挂账) are asked for by one person and decided by another, whose role allows it.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import sql

from alerts.case import CaseState, Move
from alerts.case_actions import CaseActions
from alerts.clock_rows import load_clocks, save_clocks
from alerts.clocks import extend, handling
from alerts.dossier import Dossier
from alerts.roster import role_of
from alerts.rows import insert, select
from alerts.staff import Outcome, act_of
from alerts.suppression import Role
from core.db import Connection
from core.errors import ConflictError, ForbiddenError
from core.model import Text

URGE_EVERY: Final = timedelta(minutes=30)
"""One person urges one case at most so often; ours."""
HANDLED: Final = frozenset(
    {CaseState.FILED, CaseState.DISPATCHED, CaseState.IN_PROGRESS, CaseState.VERIFYING}
)
_LEADER_LEVEL: Final = 3
_RANK: Final = (Role.OPERATOR, Role.SHIFT_LEADER, Role.DUTY_DIRECTOR)

_URGED: Final = sql.SQL("""
SELECT max(at) AS at FROM hub.event_log
 WHERE object = 'case' AND object_id = %(case_no)s AND action = 'urged' AND actor = %(actor)s
""")
_OPEN_TRACK: Final = sql.SQL("""
SELECT track_id, type, requested_by, hours, review_at FROM hub.side_track
 WHERE case_no = %(case_no)s AND type = %(type)s AND decision IS NULL FOR UPDATE
""")
_DECIDE: Final = """
UPDATE hub.side_track SET approver = %s, approved_at = %s, decision = %s, new_due_at = %s
 WHERE track_id = %s
"""


class SideActions(CaseActions):
    """The actions beside the way of a case."""

    async def urge(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Urge whoever has it (催办), at most once in half an hour."""
        act = act_of(actor, "urge", "case", case_no, reason=reason)
        async with self._on_case(act, version) as dossier:
            case = dossier.case
            if case.state not in HANDLED:
                raise ConflictError(Text("当前环节无须催办", "there is nobody to urge now"))
            named = {"case_no": case_no, "actor": actor}
            (last,) = [row["at"] for row in await select(dossier.conn, _URGED, named)]
            if last is not None and dossier.now - last < URGE_EVERY:
                raise ConflictError(
                    Text("30分钟内已催办过", "you urged it less than 30 minutes ago")
                )
            dossier.case = replace(case, urge_count=case.urge_count + 1)
            dossier.noted(Move("urged", case.state, case.state, reason), {})
            return await _done(dossier)

    async def supervise(
        self, case_no: str, *, actor: str, level: int, reason: str, version: int | None = None
    ) -> Outcome:
        """Supervise it (督办): levels 1 and 2 by a shift leader, 3 by the duty director."""
        act = act_of(actor, "supervise", "case", case_no, level=level, reason=reason)
        async with self._on_case(act, version) as dossier:
            least = Role.DUTY_DIRECTOR if level >= _LEADER_LEVEL else Role.SHIFT_LEADER
            await _require(dossier.conn, actor, least)
            case = dossier.case
            if case.state not in HANDLED or level <= case.supervise_level:
                raise ConflictError(
                    Text(
                        f"案件{case_no}当前督办级别为{case.supervise_level}",
                        f"case {case_no} stands at level {case.supervise_level}",
                    )
                )
            dossier.case = replace(case, supervise_level=level)
            dossier.noted(Move("supervised", str(case.supervise_level), str(level), reason), {})
            return await _done(dossier)

    async def extend(
        self, case_no: str, *, actor: str, hours: float, reason: str, version: int | None = None
    ) -> Outcome:
        """Ask for more time (延期): the first by a shift leader, the next by the duty director."""
        return await self._ask(case_no, "extension", actor, reason, version, hours=hours)

    async def suspend(
        self,
        case_no: str,
        *,
        actor: str,
        review_at: datetime,
        reason: str,
        version: int | None = None,
    ) -> Outcome:
        """Ask to put it aside until a day (挂账), as season or funds want."""
        if review_at <= self._clock.now():
            raise ConflictError(Text("复查日须在将来", "the day of review must lie ahead"))
        return await self._ask(case_no, "suspension", actor, reason, version, review_at=review_at)

    async def decide(
        self,
        case_no: str,
        *,
        actor: str,
        type: str,  # noqa: A002 - the field of the API
        approved: bool,
        version: int | None = None,
    ) -> Outcome:
        """Approve or refuse what was asked for; whoever asked does not decide."""
        act = act_of(actor, "decide", "case", case_no, type=type, approved=approved)
        async with self._on_case(act, version) as dossier:
            found = await select(dossier.conn, _OPEN_TRACK, {"case_no": case_no, "type": type})
            if not found:
                raise ConflictError(Text("没有待审批的申请", "nothing was asked for"))
            track, case = found[0], dossier.case
            first = type == "extension" and case.extension_count == 0
            await _require(dossier.conn, actor, Role.SHIFT_LEADER if first else Role.DUTY_DIRECTOR)
            if track["requested_by"] == actor:
                raise ForbiddenError(Text("申请人不能审批", "who asks does not decide"))
            due = await _grant(dossier, track) if approved else None
            word = "approved" if approved else "refused"
            decided = [actor, dossier.now, word, due, track["track_id"]]
            await dossier.conn.execute(_DECIDE, decided)
            name = {"extension": "extended", "suspension": "suspended"}[type]
            step = name if approved else f"{type}_refused"
            detail = {"track_id": track["track_id"], "due_at": due, "review_at": track["review_at"]}
            dossier.noted(Move(step, case.state, case.state), detail)
            return await _done(dossier)

    async def resume(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Take a suspended case up again (恢复): what was left of its limit runs on."""
        act = act_of(actor, "resume", "case", case_no, reason=reason)
        async with self._on_case(act, version) as dossier:
            await _require(dossier.conn, actor, Role.SHIFT_LEADER)
            case = dossier.case
            if not case.suspended:
                raise ConflictError(Text("案件未挂账", "it is not suspended"))
            dossier.case = replace(case, suspended=False, review_at=None)
            dossier.noted(Move("resumed", case.state, case.state, reason), {})
            return await _done(dossier)

    async def _ask(
        self,
        case_no: str,
        kind: str,
        actor: str,
        reason: str,
        version: int | None,
        *,
        hours: float | None = None,
        review_at: datetime | None = None,
    ) -> Outcome:
        act = act_of(actor, f"ask_{kind}", "case", case_no, reason=reason, hours=hours)
        async with self._on_case(act, version) as dossier:
            case = dossier.case
            if case.state not in {CaseState.DISPATCHED, CaseState.IN_PROGRESS} or case.suspended:
                raise ConflictError(Text("当前环节不能申请", "it cannot be asked for now"))
            if await select(dossier.conn, _OPEN_TRACK, {"case_no": case_no, "type": kind}):
                raise ConflictError(Text("已有待审批的申请", "it was asked for already"))
            values: dict[str, Any] = {
                "case_no": case_no,
                "type": kind,
                "requested_by": actor,
                "requested_at": dossier.now,
                "reason": reason,
                "hours": hours,
                "review_at": review_at,
            }
            track_id = await insert(dossier.conn, "side_track", values, "track_id")
            dossier.noted(Move(f"{kind}_asked", case.state, case.state, reason), values)
            return replace(await _done(dossier), track_id=track_id)


async def _grant(dossier: Dossier, track: dict[str, Any]) -> datetime | None:
    """Do what was asked for; return the new deadline of an extension."""
    case = dossier.case
    if case.state not in {CaseState.DISPATCHED, CaseState.IN_PROGRESS}:
        raise ConflictError(Text("案件已不在处置环节", "it is handled no more"))
    if track["type"] == "suspension":
        dossier.case = replace(case, suspended=True, review_at=track["review_at"])
        return None
    clocks = await load_clocks(dossier.conn, case.case_no)
    clock = handling(clocks)
    if clock is None:
        raise ConflictError(Text("没有处置时限可延", "no clock of handling runs"))
    due: datetime = max(clock.due_at, dossier.now) + timedelta(hours=track["hours"])
    later = extend(clock, due, dossier.now)
    await save_clocks(dossier.conn, clocks, [later if each is clock else each for each in clocks])
    changed: dict[str, Any] = {"handle_due_2" if case.handle_due_2 else "handle_due_at": due}
    dossier.case = replace(case, extension_count=case.extension_count + 1, **changed)
    return due


async def _require(conn: Connection, actor: str, least: Role) -> None:
    """Refuse who has not the role.

    Raises:
        ForbiddenError: Somebody with another role may.
    """
    if _RANK.index(await role_of(conn, actor)) < _RANK.index(least):
        name = {Role.SHIFT_LEADER: "值班长", Role.DUTY_DIRECTOR: "值班主任"}[least]
        raise ForbiddenError(
            Text(f"须由{name}办理", f"only a {least.value.replace('_', ' ')} may do this")
        )


async def _done(dossier: Dossier) -> Outcome:
    event_id = await dossier.save()
    return Outcome(dossier.case.version, event_id)
