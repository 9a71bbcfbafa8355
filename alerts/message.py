"""What other systems are told of a case: the body of a CloudEvent, complete without asking back.

The event's ``id`` is the outbox's idempotency key and is put in when it is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from alerts.alarm import Alarm
from alerts.case import Case, Order
from alerts.facts import Facts
from alerts.office import Office
from core.model import Text
from devices.kind import AlarmRule

ISSUED: Final = "cn.cityhub.work_order.issued"
CANCELLED: Final = "cn.cityhub.work_order.cancelled"
REWORK: Final = "cn.cityhub.work_order.rework"
CLOSED: Final = "cn.cityhub.case.closed"
MAIN: Final = frozenset({ISSUED, CANCELLED, REWORK, CLOSED})
"""What every receiver is told that does not say otherwise."""

STEPS: Final[Mapping[str, str]] = {
    "reported": "cn.cityhub.case.reported",
    "verify_requested": "cn.cityhub.case.verify_requested",
    "accepted": "cn.cityhub.case.accepted",
    "rejected": "cn.cityhub.case.rejected",
    "filed": "cn.cityhub.case.filed",
    "feedback_given": "cn.cityhub.work_order.fed_back",
    "verifying": "cn.cityhub.case.verifying",
}
"""Moves of a case that only receivers are told of who ask for them, such as the exchange."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """An alarm of a case, with what is known around it."""

    alarm: Alarm
    facts: Facts
    rule: AlarmRule


def compose(
    message_type: str,
    case: Case,
    order: Order | None,
    evidence: Evidence | None,
    department: Text | None,
    *,
    office: Office,
    at: datetime,
) -> dict[str, Any]:
    """Return a CloudEvents 1.0 envelope around all that somebody on the way needs to know.

    Args:
        message_type: Its ``type``.
        case: The case as it now stands.
        order: The work order it is about.
        evidence: What the sensor saw, where; None: people found it.
        department: Name of the handling department.
        office: Who sends.
        at: When it happened.
    """
    return {
        "specversion": "1.0",
        "source": office.source,
        "type": message_type,
        "subject": case.case_no,
        "time": at.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "case_no": case.case_no,
            "state": case.state.value,
            "severity": case.severity.name.lower(),
            "source": case.source,
            "category": case.category,
            "class_code": case.class_code,
            "title": _text(evidence.rule.label) if evidence else None,
            "description": {"zh": case.description_zh, "en": case.description_en},
            "place": {"address": case.address, "lon": case.lon, "lat": case.lat},
            "component": {
                "code": case.component_code,
                "name": evidence.facts.component_name if evidence else "",
            },
            "grid": {
                "code": case.grid_code,
                "name": evidence.facts.grid_name if evidence else "",
            },
            "department": {
                "code": case.handling_dept,
                "name": _text(department) if department else None,
                "routed_by": case.routed_by,
            },
            "deadlines": {
                "on_site_due_at": _time(order.on_site_due_at if order else None),
                "handle_due_at": _time(case.handle_due_2 or case.handle_due_at),
            },
            "times": {
                name: _time(getattr(case, name))
                for name in (
                    "reported_at",
                    "accepted_at",
                    "filed_at",
                    "dispatched_at",
                    "feedback_at",
                    "closed_at",
                )
            },
            "close_reason": case.close_reason,
            "order": None
            if order is None
            else {
                "order_no": order.order_no,
                "state": order.state.value,
                "issued_at": _time(order.issued_at),
                "instruction": order.instruction,
                "feedback": order.feedback,
                "return_reason": order.return_reason,
            },
            "verification": None
            if case.verify_result is None
            else {
                "result": case.verify_result,
                "method": case.verify_method,
                "inspector": case.inspector,
                "verified_at": _time(case.verified_at),
            },
            "alarm": _alarm(evidence) if evidence else None,
        },
    }


def _alarm(evidence: Evidence) -> dict[str, Any]:
    alarm, facts = evidence.alarm, evidence.facts
    return {
        "alarm_id": alarm.alarm_id,
        "rule_id": evidence.rule.rule_id,
        "device_id": facts.device_id,
        "device_name": facts.called,
        "started_at": _time(alarm.started_at),
        "raised_at": _time(alarm.raised_at),
        "value": alarm.value,
        "limit": alarm.threshold,
        "unit": alarm.unit,
        "confidence": alarm.confidence,
        "unconfirmed": alarm.unconfirmed,
        "clock_suspect": alarm.clock_suspect,
        "explain": {"zh": alarm.explain_zh, "en": alarm.explain_en},
    }


def _text(text: Text) -> dict[str, str]:
    return {"zh": text.zh, "en": text.en}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
