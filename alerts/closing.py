"""How a verification ends (核查结果): the case closes, or goes back to its handler."""

from dataclasses import replace

from alerts import alarm as alarms
from alerts import case as cases
from alerts.case import Move
from alerts.clock_rows import handle_due
from alerts.clocks import SECOND_LEVEL
from alerts.dossier import Dossier
from alerts.filing import issue_order, tell
from alerts.message import CLOSED, REWORK
from alerts.office import Office
from alerts.verification import check_recovered


def begin_verifying(dossier: Dossier) -> None:
    """Go to verification: after feedback, or because the sensor recovered by itself (自行恢复).

    Raises:
        ConflictError: There is no feedback, and the sensors have not recovered.
    """
    if dossier.case.state in cases.MOVES["self_recovered"][0]:
        check_recovered(dossier.case, dossier.evidence)
        if dossier.order and dossier.order.state in cases.ORDER_MOVES["cancelled"][0]:
            dossier.order_moved(cases.move_order(dossier.order, "cancelled"))
        dossier.moved(cases.move(dossier.case, "self_recovered"))
    else:
        dossier.moved(cases.move(dossier.case, "verifying"))


async def close(dossier: Dossier, office: Office, method: str, trusted: frozenset[int]) -> None:
    """Close a case that passed, let go of its alarms, and tell the platform.

    Args:
        dossier: The case, which is being verified.
        office: Who closes.
        method: What the pass rests on.
        trusted: Alarms whose condition ends by a person's word.
    """
    dossier.moved(cases.close(dossier.case, dossier.actor, dossier.now, method))
    for item in dossier.evidence:
        verified = alarms.verify(
            item.alarm,
            dossier.actor,
            dossier.now,
            trusted=item.alarm.alarm_id in trusted,
        )
        dossier.alarm_changed(item, *verified)
    await tell(
        dossier.conn,
        CLOSED,
        dossier.case,
        dossier.order,
        dossier.first,
        office=office,
        now=dossier.now,
    )


async def rework(dossier: Dossier, office: Office, method: str, note: str) -> None:
    """Send a case that failed back to its handler (返工), with a new work order."""
    due = await handle_due(dossier.conn, dossier.case, dossier.now, share=cases.REWORK_SHARE)
    again = cases.rework(dossier.case, dossier.actor, note, dossier.now, method, due=due)
    order = await issue_order(
        dossier.conn,
        again[0],
        dossier.first,
        office,
        dossier.now,
        message_type=REWORK,
        due_at=again[0].handle_due_2,
        instruction=note,
    )
    await dossier.replace_order(order)
    handler = dossier.case.handler
    dossier.order_moved(cases.move_order(order, "signed", handler=handler, signed_at=dossier.now))
    dossier.moved(again)
    if again[0].rework_count >= SECOND_LEVEL > dossier.case.supervise_level:
        before = str(dossier.case.supervise_level)
        dossier.case = replace(dossier.case, supervise_level=SECOND_LEVEL)
        dossier.noted(Move("supervised", before, str(SECOND_LEVEL), "rework"), {})
