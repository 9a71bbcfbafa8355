"""Every alarm rule by kind and name, those of virtual devices included.

Feeders, gateways and parts of the hub are virtual devices (no readings, only alarms), so that one
key, device and rule, serves every alarm.
"""

from collections.abc import Mapping
from typing import Final

from core.model import Audience, Severity, Text
from devices import KINDS
from devices.care import CARE_RULES
from devices.kind import AlarmRule


def _system(rule_id: str, zh: str, en: str, severity: Severity) -> AlarmRule:
    return AlarmRule(
        rule_id,
        Text(zh, en),
        severity,
        audience=Audience.SYSTEM,
        on_delay_s=30,
        off_delay_s=60,
        verify="sensor",
    )


def _outage(rule_id: str, zh: str, en: str, severity: Severity) -> AlarmRule:
    return AlarmRule(
        rule_id,
        Text(zh, en),
        severity,
        audience=Audience.MAINTENANCE,
        off_delay_s=300,
        verify="sensor",
    )


VIRTUAL_RULES: Final[Mapping[str, tuple[AlarmRule, ...]]] = {
    "gateway": (
        *CARE_RULES,
        AlarmRule(
            "gateway_offline",
            Text("网关失联", "Gateway offline"),
            Severity.YELLOW,
            audience=Audience.MAINTENANCE,
            off_delay_s=300,
            verify="sensor",
        ),
    ),
    "feeder": (
        *CARE_RULES,
        AlarmRule(
            "feeder_down",
            Text("回路失电", "Feeder down"),
            Severity.ORANGE,
            on_delay_s=60,
            off_delay_s=300,
            class_code="0118",
            verify="sensor",
        ),
        AlarmRule(
            "feeder_day_on",
            Text("回路白天亮灯", "Circuit burning out of hours"),
            Severity.BLUE,
            off_delay_s=300,
            class_code="0118",
            verify="sensor",
        ),
    ),
    "network": (
        *CARE_RULES,
        _outage("network_down", "运营商网络中断", "Operator's network down", Severity.ORANGE),
    ),
    "cell": (
        *CARE_RULES,
        _outage("cell_down", "片区设备失联", "Grid cell silent", Severity.YELLOW),
    ),
    "hub": (
        *CARE_RULES,
        _system("pipeline_down", "接入中断", "Ingest is down", Severity.RED),
        _system("broker_lost", "消息总线失联", "Broker lost", Severity.RED),
        _system("store_lag", "入库滞后", "Storage lags", Severity.ORANGE),
        _system("outbox_stuck", "派遣积压", "Dispatch is stuck", Severity.ORANGE),
        _system("disk_full", "磁盘将满", "Disk nearly full", Severity.RED),
    ),
}
"""The rules of the kinds that measure nothing (虚拟设备)."""

_RULES: Final = {
    (kind, rule.rule_id): rule
    for kind, rules in (
        *((kind.name, kind.rules) for kind in KINDS.values()),
        *VIRTUAL_RULES.items(),
    )
    for rule in rules
}


def find_rule(kind: str, rule_id: str) -> AlarmRule | None:
    """Return a rule, or None where the kind has none of this name.

    >>> (rule := find_rule("feeder", "feeder_down")) and rule.label.zh
    '回路失电'
    """
    return _RULES.get((kind, rule_id))


def rules_of(kind: str) -> tuple[AlarmRule, ...]:
    """Return all the rules of a kind; none for a kind that does not exist."""
    return tuple(rule for (name, _), rule in _RULES.items() if name == kind)
