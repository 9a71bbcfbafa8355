"""Alarm health (告警健康) after ISA-18.2 and EEMUA 191: is the list one that people can work with?

Counted are the alarms that people were told of; what is suppressed or history burdens nobody.
"""

import math
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from api.evaluation.flood import SLOT, floods
from api.evaluation.period import Period
from api.shapes import Instant, Shape, Words, rule_label
from api.store import TENANT, Look
from core.model import Text

UNUSED: Final = timedelta(days=30)
"""A rule nobody acted on for so long is one to delete or mend."""

_TOLD: Final = """
 FROM hub.alarm a JOIN hub.device d USING (device_no)
WHERE a.tenant_id = %(tenant)s AND NOT a.retroactive AND a.notified_at IS NOT NULL
  AND a.raised_at >= %(start)s AND a.raised_at < %(end)s
"""
_SLOTS: Final = (
    """
SELECT floor(extract(epoch FROM a.raised_at - %(start)s::timestamptz) / %(slot_s)s)::int8 AS slot,
       count(*) AS alarms
"""
    + _TOLD
    + " GROUP BY 1"
)
_SUM: Final = (
    """
SELECT count(*) AS alarms,
       count(*) FILTER (WHERE a.severity_peak = 1) AS blue,
       count(*) FILTER (WHERE a.severity_peak = 2) AS yellow,
       count(*) FILTER (WHERE a.severity_peak >= 3) AS high,
       count(*) FILTER (WHERE a.flapping OR a.chatter_count > 0) AS chattering,
       count(*) FILTER (WHERE a.fleeting) AS fleeting,
       count(*) FILTER (WHERE a.severity_peak = 4 AND coalesce(a.acked_at, %(now)s) > a.ack_due_at)
           AS red_late,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.acked_at - a.raised_at))
           AS ack_median,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY extract(epoch FROM a.acked_at - a.raised_at))
           AS ack_p90,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY CASE WHEN a.severity_peak = 4
           THEN extract(epoch FROM a.acked_at - a.raised_at) END) AS red_ack_median
"""
    + _TOLD
)
_ACTORS: Final = (
    "SELECT d.device_id, d.name AS device_name, d.kind, a.rule_id, count(*) AS alarms"
    + _TOLD
    + " GROUP BY 1, 2, 3, 4 ORDER BY alarms DESC, d.device_id, a.rule_id LIMIT 10"
)
_RULES: Final = """
SELECT d.kind, a.rule_id, count(*) AS alarms,
       count(*) FILTER (WHERE a.flapping OR a.chatter_count > 0) AS chattering,
       count(*) FILTER (WHERE a.fleeting) AS fleeting,
       count(*) FILTER (WHERE a.case_no IS NOT NULL) AS cases,
       count(*) FILTER (WHERE c.state IN ('rejected', 'void')) AS false_alarms
  FROM hub.alarm a JOIN hub.device d USING (device_no)
  LEFT JOIN hub.case c ON c.case_no = a.case_no
 WHERE a.tenant_id = %(tenant)s AND NOT a.retroactive
   AND a.raised_at >= %(start)s AND a.raised_at < %(end)s
 GROUP BY 1, 2 ORDER BY alarms DESC, 1, 2
"""
_UNUSED: Final = """
SELECT d.kind, a.rule_id, count(*) AS alarms
  FROM hub.alarm a JOIN hub.device d USING (device_no)
 WHERE a.tenant_id = %(tenant)s AND NOT a.retroactive AND a.raised_at >= %(since)s
   AND a.raised_at < %(end)s
 GROUP BY 1, 2
HAVING count(*) FILTER (WHERE a.case_no IS NOT NULL
                           OR (a.acked_at IS NOT NULL AND a.acked_by <> 'hub')) = 0
 ORDER BY alarms DESC, 1, 2
"""
_NOW: Final = """
SELECT count(*) AS open, count(*) FILTER (WHERE stale) AS stale,
       count(*) FILTER (WHERE suppression = 'shelved') AS shelved,
       count(*) FILTER (WHERE suppression = 'suppressed') AS suppressed,
       count(*) FILTER (WHERE suppression = 'out_of_service') AS out_of_service,
       count(*) FILTER (WHERE suppression <> 'none' AND suppress_until IS NULL) AS endless
  FROM hub.alarm
 WHERE tenant_id = %(tenant)s
   AND (condition_state <> 'cleared' OR (latched AND reset_at IS NULL))
"""
_SHELF: Final = """
SELECT d.device_id, d.name AS device_name, d.kind, s.rule_id, s.since, s.until, s.reason, s.actor
  FROM hub.shelf s JOIN hub.device d USING (device_no)
 WHERE s.tenant_id = %(tenant)s AND s.until > %(now)s ORDER BY s.since LIMIT 200
"""
_SEATS: Final = """
SELECT count(DISTINCT person) AS seats FROM hub.roster
 WHERE role = 'seat' AND coalesce(starts_at, '-infinity') < %(end)s
   AND coalesce(ends_at, 'infinity') > %(end)s::timestamptz - interval '1 microsecond'
"""


class Measure(Shape):
    """One figure of alarm health and its target."""

    code: str
    label: Words
    unit: Literal["count", "share", "s"]
    value: float | None
    """Null: there was nothing to measure."""
    target: float | None
    """At most this much; null: shown, not judged."""
    target_text: Words
    ok: bool | None
    """Whether it is met; null: not judged."""
    source: str
    """Where the target is from: `p` ISA-18.2 as quoted, `c` ISA-18.2, `o` our own."""


class Actor(Shape):
    """A rule on a device that raised many."""

    device_id: str
    device_name: str
    rule_id: str
    rule_label: Words
    alarms: int
    share: float


class RuleHealth(Shape):
    """What a rule raised and what came of it."""

    kind: str
    rule_id: str
    rule_label: Words
    alarms: int
    chattering: int
    fleeting: int
    cases: int
    false_alarms: int


class UnusedRule(Shape):
    """A rule whose alarms nobody acted on in thirty days."""

    kind: str
    rule_id: str
    rule_label: Words
    alarms: int


class Shelved(Shape):
    """What is shelved now, by whom and why."""

    device_id: str
    device_name: str
    rule_id: str
    rule_label: Words
    since: Instant
    until: Instant
    age_s: float
    reason: str
    actor: str


class Priority(Shape):
    """How many alarms came to be of a level."""

    code: Literal["low", "mid", "high"]
    label: Words
    alarms: int
    share: float | None
    target: float


class AlarmHealth(Shape):
    """Alarm health of a period."""

    start: Instant
    end: Instant
    seats: int
    measures: list[Measure]
    priorities: list[Priority]
    bad_actors: list[Actor]
    rules: list[RuleHealth]
    unused: list[UnusedRule]
    shelved: list[Shelved]


async def read_health(look: Look, period: Period, now: datetime, seats: int | None) -> AlarmHealth:
    """Return the alarm health of a period.

    Args:
        look: The look.
        period: Nothing in it lies in the future.
        now: The hub's time.
        seats: How many people share the alarms; None: those on the roster at the period's end, at
            least one.
    """
    asked: dict[str, Any] = {
        "tenant": TENANT,
        "start": period.start,
        "end": period.end,
        "now": now,
        "since": period.end - UNUSED,
        "slot_s": SLOT.total_seconds(),
    }
    if seats is None:
        roster = await look.row(_SEATS, asked)
        seats = max(1, roster["seats"] if roster else 0)
    by_slot = {row["slot"]: row["alarms"] for row in await look.rows(_SLOTS, asked)}
    total = await look.row(_SUM, asked) or {}
    present = await look.row(_NOW, asked) or {}
    actors = await look.rows(_ACTORS, asked)
    alarms = total["alarms"]
    return AlarmHealth(
        start=period.start,
        end=period.end,
        seats=seats,
        measures=_measures(period, seats, by_slot, {**total, **present}, actors),
        priorities=[
            Priority(
                code=code,
                label=Words.of(label),
                alarms=total[column],
                share=total[column] / alarms if alarms else None,
                target=target,
            )
            for code, label, column, target in _PRIORITIES
        ],
        bad_actors=[Actor(**_named(row), share=row["alarms"] / alarms) for row in actors],
        rules=[RuleHealth(**_named(row)) for row in await look.rows(_RULES, asked)],
        unused=[UnusedRule(**_named(row)) for row in await look.rows(_UNUSED, asked)],
        shelved=[
            Shelved(**_named(row), age_s=(now - row["since"]).total_seconds())
            for row in await look.rows(_SHELF, asked)
        ],
    )


_PRIORITIES: Final[tuple[tuple[Literal["low", "mid", "high"], Text, str, float], ...]] = (
    ("low", Text("低（蓝）", "Low (blue)"), "blue", 0.80),
    ("mid", Text("中（黄）", "Mid (yellow)"), "yellow", 0.15),
    ("high", Text("高（橙、红）", "High (orange, red)"), "high", 0.05),
)


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "rule_label": Words.of(rule_label(row["kind"], row["rule_id"]))}


def _measures(
    period: Period,
    seats: int,
    by_slot: dict[int, int],
    total: dict[str, Any],
    actors: list[dict[str, Any]],
) -> list[Measure]:
    slots = math.ceil((period.end - period.start) / SLOT)
    days = (period.end - period.start) / timedelta(days=1)
    alarms = total["alarms"]
    found = floods(by_slot, slots, seats)
    top = sum(row["alarms"] for row in actors)
    return [
        _at_most("rate_mean", Text("每席每10分钟告警（平均）", "Alarms a seat in 10 min, mean"),
                 "count", alarms / slots / seats if slots else None, 1, source="p"),
        _shown("rate_peak", Text("每席每10分钟告警（峰值）", "Alarms a seat in 10 min, peak"),
               "count", max(by_slot.values(), default=0) / seats),
        _at_most("per_day", Text("每席每日告警", "Alarms a seat and day"),
                 "count", alarms / days / seats if days else None, 150, source="p"),
        _at_most("flood_share", Text("洪峰时间占比", "Share of time in flood"),
                 "share", found.slots / slots if slots else None, 0.01, source="p", strict=True),
        _shown("flood_count", Text("洪峰次数", "Floods"), "count", found.count),
        _shown("flood_longest", Text("最长洪峰", "Longest flood"), "s",
               found.longest * SLOT.total_seconds()),
        _shown("flood_peak", Text("洪峰每席10分钟峰值", "Peak of a flood, a seat in 10 min"),
               "count", found.peak),
        _at_most("top_10", Text("前10来源占比", "Share of the top 10 sources"),
                 "share", top / alarms if alarms else None, 0.05, source="c", strict=True),
        _at_most("stale", Text("当前滞留占未结束", "Stale now, of open"),
                 "share", total["stale"] / total["open"] if total["open"] else None, 0.05,
                 source="p", strict=True),
        _at_most("chattering", Text("抖动告警", "Chattering alarms"),
                 "count", total["chattering"], 0, source="o"),
        _at_most("fleeting", Text("瞬时告警", "Fleeting alarms"),
                 "count", total["fleeting"], 0, source="o"),
        _shown("shelved_now", Text("当前搁置", "Shelved now"), "count", total["shelved"]),
        _shown("suppressed_now", Text("当前抑制", "Suppressed now"), "count", total["suppressed"]),
        _shown("out_of_service_now", Text("当前停用", "Out of service now"), "count",
               total["out_of_service"]),
        _shown("endless_now", Text("无截止时间的抑制", "Quiet without an end"), "count",
               total["endless"]),
        _shown("ack_median", Text("确认时长中位数", "Time to acknowledge, median"), "s",
               total["ack_median"]),
        _shown("ack_p90", Text("确认时长 P90", "Time to acknowledge, p90"), "s", total["ack_p90"]),
        _at_most("red_ack_median", Text("红色确认时长中位数", "Red: time to acknowledge, median"),
                 "s", total["red_ack_median"], 60, source="o"),
        _at_most("red_late", Text("红色确认超时", "Red: acknowledged late or not at all"),
                 "count", total["red_late"], 0, source="o"),
    ]  # fmt: skip


def _at_most(
    code: str,
    label: Text,
    unit: Literal["count", "share", "s"],
    value: float | None,
    target: float,
    *,
    source: Literal["p", "c", "o"],
    strict: bool = False,
) -> Measure:
    sign = "<" if strict else "≤"
    met = None if value is None else (value < target if strict else value <= target)
    return Measure(
        code=code,
        label=Words.of(label),
        unit=unit,
        value=value,
        target=target,
        target_text=Words(
            zh=f"{sign} {_amount(unit, target, '秒')}", en=f"{sign} {_amount(unit, target, 's')}"
        ),
        ok=met,
        source=source,
    )


def _shown(
    code: str, label: Text, unit: Literal["count", "share", "s"], value: float | None
) -> Measure:
    return Measure(
        code=code,
        label=Words.of(label),
        unit=unit,
        value=value,
        target=None,
        target_text=Words(zh="", en=""),
        ok=None,
        source="",
    )


def _amount(unit: str, amount: float, seconds: str) -> str:
    if unit == "share":
        return f"{amount:.0%}"
    return f"{amount:g} {seconds}" if unit == "s" else f"{amount:g}"
