"""Verification (核查): what a sensor and a person must agree on before a case may close."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerts.alarm import Condition
from alerts.case import Case
from alerts.message import Evidence
from core.errors import ConflictError
from core.model import Text


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification rests on.

    Attributes:
        method: ``sensor``, ``human``, ``sensor_and_human`` or ``sensor_or_human``.
        trusted: Alarms whose condition ends by the person's word, since no sensor can say.
        record: What the sensors said, for the evidence kept with the case.
    """

    method: str
    trusted: frozenset[int]
    record: dict[str, Any]


def judge(evidence: Sequence[Evidence], now: datetime, *, passed: bool) -> Verdict:
    """Return what a person's verdict rests on.

    A sensor that still breaches outranks a person where the rule has it verify. A silent sensor can
    say nothing: then the person's word counts, and the evidence says so.

    Args:
        evidence: The alarms of the case.
        now: The hub's time.
        passed: The person found the work well done.

    Raises:
        ConflictError: Passed by the person, while the sensor is still abnormal.
    """
    trusted, sensors, by_person = set(), [], False
    for item in evidence:
        silent = item.facts.is_silent(now)
        normal = item.alarm.condition_state is not Condition.ACTIVE
        sensors.append(
            {
                "alarm_id": item.alarm.alarm_id,
                "device_id": item.facts.device_id,
                "condition_state": item.alarm.condition_state.value,
                "value": item.alarm.value,
                "silent": silent,
                "last_contact_at": item.facts.contact.isoformat() if item.facts.contact else None,
            }
        )
        if not passed or normal:
            continue
        if not silent and item.rule.verify in {"sensor", "sensor_and_human"}:
            raise ConflictError(
                Text(
                    f"传感器{item.facts.called}仍异常, 核查不能通过",
                    f"the sensor {item.facts.device_id} is still abnormal: it cannot pass",
                )
            )
        by_person = True
        if silent or item.rule.verify == "human" or not item.alarm.sources:
            trusted.add(item.alarm.alarm_id)
    rule = evidence[0].rule.verify if evidence else "human"
    return Verdict(
        method="human" if by_person else rule,
        trusted=frozenset(trusted),
        record={"sensors": sensors},
    )


def check_recovered(case: Case, evidence: Sequence[Evidence]) -> None:
    """Refuse to verify a case before feedback unless its sensors recovered by themselves.

    Raises:
        ConflictError: One has not.
    """
    if not evidence or any(
        item.alarm.condition_state is not Condition.CLEARED for item in evidence
    ):
        raise ConflictError(
            Text(
                f"案件{case.case_no}尚未反馈, 传感器也未恢复",
                f"case {case.case_no} has no feedback yet, and its sensor has not recovered",
            )
        )
