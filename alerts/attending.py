"""What the hub does for cases by itself: it asks their sensors after feedback, and ends the watch.

Each case has its own transaction: its timer fires together with its effect, and one that fails
holds up no other.
"""

import logging
from datetime import timedelta
from typing import Any, Final

from psycopg import sql

from alerts import case as cases
from alerts.alarm import HUB
from alerts.case import CaseState
from alerts.case_ticks import tick_clocks
from alerts.closing import begin_verifying, close, rework
from alerts.curve import read_curve, read_fresh, sealed
from alerts.dossier import Dossier
from alerts.message import Evidence
from alerts.office import Office
from alerts.rows import select
from alerts.sensor_check import Told, Word, agree, ask, needed
from core.clock import Clock
from core.db import Connection, Pool, transaction
from core.errors import CityhubError, StoreUnavailableError
from core.failpoint import passing
from devices.rulebook import Rulebook

log = logging.getLogger(__name__)

_AT_ONCE: Final = 50
_AGAIN: Final = timedelta(seconds=5)
"""A sensor may say no at any time while it is asked: so often is it looked at; ours."""
_PUT_OFF: Final = timedelta(minutes=5)

_DUE: Final = sql.SQL("""
SELECT case_no FROM hub.case WHERE look_at <= %(now)s ORDER BY look_at, case_no
 LIMIT %(most)s
""")
_UNREAD: Final = sql.SQL("""
SELECT EXISTS (SELECT 1 FROM hub.finding f
    WHERE f.finding_id > coalesce((SELECT position FROM hub.cursor WHERE name = 'alerts'), 0)
      AND f.device_no = ANY(%(devices)s)) AS unread
""")
_TICKING: Final = sql.SQL("""
SELECT case_no FROM (SELECT case_no, timer_at FROM hub.case_clock WHERE timer_at <= %(now)s
 ORDER BY timer_at, case_no LIMIT %(most)s) AS due
 GROUP BY case_no ORDER BY min(timer_at), case_no
""")
_LOOK: Final = "UPDATE hub.case SET look_at = %s WHERE case_no = %s"


async def attend(pool: Pool, clock: Clock, office: Office, rules: Rulebook) -> int:
    """Look at the cases whose time has come.

    Args:
        pool: The database.
        clock: The hub's time.
        office: The command centre's particulars.
        rules: The rules of the city, as fresh as the last turn of the engine.

    Returns:
        How many were looked at.
    """
    async with transaction(pool) as conn:
        named = {"now": clock.now(), "most": _AT_ONCE}
        due = [row["case_no"] for row in await select(conn, _DUE, named)]
        ticking = [row["case_no"] for row in await select(conn, _TICKING, named)]
    for case_no in due:
        try:
            async with transaction(pool) as conn:
                await _attend_one(conn, case_no, clock, office, rules)
                passing("alerts.before_commit")
        except StoreUnavailableError:
            raise
        except CityhubError as error:
            log.warning("a case is looked at later", extra={"case_no": case_no}, exc_info=error)
            async with transaction(pool) as conn:
                await conn.execute(_LOOK, [clock.now() + _PUT_OFF, case_no])
    for case_no in ticking:
        async with transaction(pool) as conn:
            dossier = await Dossier.open(conn, case_no, HUB, clock.now(), rules)
            await tick_clocks(dossier)
            passing("alerts.before_commit")
    return len(due) + len(ticking)


async def _attend_one(
    conn: Connection, case_no: str, clock: Clock, office: Office, rules: Rulebook
) -> None:
    dossier = await Dossier.open(conn, case_no, HUB, clock.now(), rules)
    dossier.office = office
    case = dossier.case
    if case.look_at is None or case.look_at > dossier.now:
        return  # somebody was faster
    if case.state is CaseState.CLOSED:
        dossier.moved(cases.evaluate(case, dossier.now))
    elif case.state in {CaseState.FEEDBACK, CaseState.VERIFYING} and case.feedback_at is not None:
        await _verify(dossier, office)
    else:
        dossier.look_again(None)
    await dossier.save()


async def _verify(dossier: Dossier, office: Office) -> None:
    evidence, since, now = dossier.evidence, dossier.case.feedback_at, dossier.now
    assert since is not None  # noqa: S101 - the caller looked
    if dossier.case.state is CaseState.FEEDBACK:
        begin_verifying(dossier)
    method = needed(evidence)
    asked = [item for item in evidence if item.rule.verify != "human"]
    if not asked:
        _remark(dossier, "human_required", "no_sensor")
        dossier.look_again(None)
        return
    # what was read is looked at before what was found in it: both commit together
    told = [ask(item, await read_fresh(dossier.conn, item, since), since, now) for item in asked]
    devices = {"devices": [item.facts.device_no for item in asked]}
    if (await select(dossier.conn, _UNREAD, devices))[0]["unread"]:
        dossier.look_again(now)
        return
    word = agree(told)
    if word is Word.FAILED:
        note = await _keep(dossier, asked, told, passed=False)
        await rework(dossier, office, "sensor", note)
    elif word is Word.PASSED and method in {"sensor", "sensor_or_human"}:
        await _keep(dossier, asked, told, passed=True)
        await close(dossier, office, "sensor", frozenset())
    else:
        if word is Word.PASSED and dossier.case.verify_result != "sensor_passed":
            await _keep(dossier, asked, told, passed=True)
            _remark(dossier, "sensor_passed", "human_pending")
        elif word is Word.MUTE and dossier.case.verify_result != "human_required":
            await _keep(dossier, asked, told, passed=None)
            _remark(dossier, "human_required", "sensor_offline")
        elif word is Word.UNSEEN:
            _remark(dossier, "not_observable", "waiting_for_sight")
        again = [each.at for each in told if each.at > now]
        dossier.look_again(min([*again, now + _AGAIN]))


async def _keep(
    dossier: Dossier, asked: list[Evidence], told: list[Told], *, passed: bool | None
) -> str:
    """Keep what the sensors said with the case, with their curves; return it as a sentence."""
    since, now = dossier.case.feedback_at, dossier.now
    assert since is not None  # noqa: S101 - as above
    sensors: list[dict[str, Any]] = [
        {
            "alarm_id": item.alarm.alarm_id,
            "device_id": item.facts.device_id,
            "rule_id": item.rule.rule_id,
            "says": each.word.value,
            "condition_state": item.alarm.condition_state.value,
            "value": item.alarm.value,
            "limit": item.alarm.threshold,
            "unit": item.alarm.unit,
            "last_contact_at": item.facts.contact.isoformat() if item.facts.contact else None,
            "curve": await read_curve(dossier.conn, item, since, now),
        }
        for item, each in zip(asked, told, strict=True)
    ]
    names = "、".join(
        item.facts.called
        for item, each in zip(asked, told, strict=True)
        if each.word is not Word.PASSED
    )
    note = {
        True: "传感器核查通过",
        False: f"传感器核查不通过：{names}仍异常，曲线见核查记录",
        None: f"传感器失联：{names}，须人工核查",
    }[passed]
    record = {"at": now.isoformat(), "actor": HUB, "passed": passed, "note": note}
    await dossier.add_evidence(sealed(record | {"method": "sensor", "sensors": sensors}))
    return note


def _remark(dossier: Dossier, result: str, reason: str) -> None:
    """Write down how far verification is, once."""
    if dossier.case.verify_result == result:
        return
    dossier.remark(result, reason)
