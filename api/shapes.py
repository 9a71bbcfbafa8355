"""The shapes that answers share: texts in both languages, times, and labels from the kinds."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict

from core.model import Severity, Text
from devices import KINDS
from devices.rules import find_rule


class Shape(BaseModel):
    """An answer; what is not declared is not shown."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)


class Words(Shape):
    """A text in the two languages of the command centre."""

    zh: str
    en: str

    @classmethod
    def of(cls, text: Text) -> "Words":
        """Return the shape of a text."""
        return cls(zh=text.zh, en=text.en)


Instant = Annotated[datetime, AfterValidator(lambda at: at.astimezone(UTC))]
"""A time in an answer: RFC 3339, UTC, ``Z``."""

Moment = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(UTC))]
"""A time in a question: RFC 3339 with its zone."""

_VIRTUAL: Final[Mapping[str, Text]] = {
    "gateway": Text("网关", "Gateway"),
    "feeder": Text("回路", "Feeder"),
    "hub": Text("平台", "Hub"),
}

_STATES: Final[Mapping[str, Text]] = {
    "UNACK": Text("未确认", "unacknowledged"),
    "ACKED": Text("已确认", "acknowledged"),
    "RTNUN": Text("已恢复未确认", "over, unacknowledged"),
    "LATCHED": Text("锁存待复位", "over, to be reset"),
    "SHELVED": Text("搁置", "shelved"),
    "SUPPRESSED": Text("抑制", "suppressed"),
    "OOS": Text("停用", "out of service"),
    "NORM": Text("已恢复", "over"),
}

CASE_STATES: Final[Mapping[str, Text]] = {
    "reported": Text("已上报", "reported"),
    "verify_requested": Text("待核实", "to be confirmed"),
    "accepted": Text("已受理", "accepted"),
    "filed": Text("已立案", "filed"),
    "rejected": Text("不予立案", "rejected"),
    "void": Text("作废", "void"),
    "merged": Text("并案", "merged"),
    "dispatched": Text("已派遣", "dispatched"),
    "in_progress": Text("处置中", "in progress"),
    "feedback": Text("已反馈", "reported done"),
    "verifying": Text("核查中", "being verified"),
    "closed": Text("结案", "closed"),
    "evaluated": Text("已评价", "evaluated"),
}


def kind_label(kind: str) -> Text:
    """Return what the command centre calls a kind of device."""
    if kind in KINDS:
        return KINDS[kind].label
    return _VIRTUAL.get(kind, Text(kind, kind))


def rule_label(kind: str, rule_id: str) -> Text:
    """Return what the command centre calls an alarm rule of a kind."""
    rule = find_rule(kind, rule_id)
    return rule.label if rule else Text(rule_id, rule_id)


def rule_metrics(kind: str, rule_id: str) -> list[str]:
    """Return what a rule of a kind is judged by, the first first; empty for events."""
    watches = KINDS[kind].watches if kind in KINDS else ()
    for watch in watches:
        if rule_id in watch.rule_ids:
            return list(watch.watched)
    return []


def severity_label(severity: int) -> Text:
    """Return the level in words, as the page says it: 红色预警, not 红色."""
    text = Severity(severity).text
    return Text(f"{text.zh}预警", text.en)


def alarm_state(row: Mapping[str, Any]) -> str:
    """Return the display name of an alarm's four axes (ISA-18.2 vocabulary)."""
    acked, over = row["ack_state"] == "acked", row["condition_state"] == "cleared"
    held = row["latched"] and row["reset_at"] is None
    if row["suppression"] != "none" and (held or not over):
        return {"shelved": "SHELVED", "suppressed": "SUPPRESSED"}.get(row["suppression"], "OOS")
    if not over:
        return "ACKED" if acked else "UNACK"
    if not acked:
        return "RTNUN"
    return "LATCHED" if held else "NORM"


def state_label(state: str) -> Text:
    """Return an alarm's display state in words."""
    return _STATES[state]


def case_state_label(state: str) -> Text:
    """Return a case's stage in words."""
    return CASE_STATES[state]
