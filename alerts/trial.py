"""A message that tries a receiver, and says that it does."""

from datetime import datetime

from alerts.case import Case, CaseState
from alerts.message import compose
from alerts.office import Office
from alerts.outbox import Message
from alerts.receivers import Receiver
from core.model import Severity


def trial_message(receiver: Receiver, office: Office, now: datetime) -> Message:
    """Return a message of the first type a receiver takes, about a case that is none.

    Args:
        receiver: Who is tried.
        office: Who sends.
        now: When. It makes the key, so that each trial is one of its own.
    """
    number = f"TEST-{now:%Y%m%d%H%M%S}"
    case = Case(
        case_no=number,
        source="test",
        category="component",
        class_code="0000",
        description_zh="这是一条测试消息，无需处置",
        description_en="This is a test; there is nothing to do",
        severity=Severity.BLUE,
        state=CaseState.DISPATCHED,
        reported_at=now,
        handle_limit_s=0,
    )
    kind = receiver.takes[0]
    return Message(
        outbox_id=0,
        case_no=number,
        key=f"{number}-1",
        message_type=kind,
        payload=compose(kind, case, None, None, None, office=office, at=now),
        attempts=1,
        created_at=now,
        first_tried_at=now,
    )
