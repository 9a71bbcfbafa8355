"""What of a rule a city may change: each field with its range, so that a refusal can name both.

A rule's fields are those of :class:`devices.kind.AlarmRule` and those of the watches that feed it.
A watch's numbers are changeable where its stage reads them live: all of a
:class:`devices.kind.Limit`, of other watches the fields marked by :func:`devices.kind.editable`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final, Literal

from core.model import Audience, Severity, Text
from devices import KINDS
from devices.classes import classes
from devices.kind import AlarmRule, DeviceKind, Limit
from devices.limits import limit_keys
from devices.rules import find_rule

STEPS: Final = tuple(severity.name.lower() for severity in Severity)
"""Names of a ladder's steps, blue first."""

_DAY_S: Final = 86_400.0
_MONTH_S: Final = 30 * _DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a rule.

    Attributes:
        name: As people write it.
        about: What it is.
        default: Its value as shipped, JSON-ready.
        form: What values it takes.
        low: The least number.
        high: The greatest number.
        choices: Its words, for ``choice``.
        optional: It may be null: there is no such thing.
        unit: UCUM code of a number.
        watch: Key of the watch that it belongs to; empty: of the alarm rule.
        attribute: Its name there.
    """

    name: str
    about: Text
    default: Any
    form: Literal["number", "count", "flag", "choice", "class"]
    low: float = 0.0
    high: float = math.inf
    choices: tuple[str, ...] = ()
    optional: bool = False
    unit: str = ""
    watch: str = ""
    attribute: str = ""

    @property
    def allowed(self) -> Text:
        """What it may be, in words."""
        unit = f" {self.unit}" if self.unit not in {"", "1", "{count}"} else ""
        null = Text("，或 null", " or null") if self.optional else Text("", "")
        match self.form:
            case "flag":
                words = Text("true 或 false", "true or false")
            case "choice":
                words = Text("、".join(self.choices), ", ".join(self.choices))
            case "class":
                words = Text("四位大小类代码，或空", "the four digits of a class, or nothing")
            case _:
                whole = Text("整数 ", "a whole number ") if self.form == "count" else Text("", "")
                words = Text(
                    f"{whole.zh}{self.low:.10g} 至 {self.high:.10g}{unit}",
                    f"{whole.en}{self.low:.10g} to {self.high:.10g}{unit}",
                )
        return Text(words.zh + null.zh, words.en + null.en)

    def doubt(self, value: object) -> Text | None:
        """Return why the field cannot be this, or None where it can."""
        if (value is None and self.optional) or (value is not None and self._takes(value)):
            return None
        return Text(
            f"{self.name} 不能是 {value!r}，应为：{self.allowed.zh}",
            f"{self.name} cannot be {value!r}; it must be: {self.allowed.en}",
        )

    def _takes(self, value: object) -> bool:
        match self.form:
            case "flag":
                return isinstance(value, bool)
            case "choice":
                return value in self.choices
            case "class":
                known = classes("component").keys() | classes("event").keys()
                return value == "" or (
                    isinstance(value, str)
                    and re.fullmatch(r"[0-9]{4}", value) is not None
                    and value in known
                )
            case _:
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if not number or (self.form == "count" and not isinstance(value, int)):
                    return False
                return self.low <= value <= self.high  # type: ignore[operator] # it is a number


@cache
def fields_of(kind: str, rule_id: str) -> Mapping[str, Field]:
    """Return the fields of a rule by name, empty where the kind has no such rule.

    A name that two watches of the rule share is preceded by the watch, such as ``power.hold``.

    >>> sorted(fields_of("manhole_cover", "cover_flooded"))[:4]
    ['allowed_lateness_s', 'audience', 'blue', 'category']
    """
    rule = find_rule(kind, rule_id)
    if rule is None:
        return {}
    watched = [*_watch_fields(KINDS[kind], rule_id)] if kind in KINDS else []
    twice = {field.name for n, field in enumerate(watched) if _shared(watched, n)}
    named = {
        f"{field.watch}.{field.name}" if field.name in twice else field.name: field
        for field in watched
    }
    return {field.name: field for field in _alarm_fields(rule)} | named


def _shared(watched: list[Field], n: int) -> bool:
    others = (field for m, field in enumerate(watched) if m != n)
    return any(field.name == watched[n].name for field in others)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: an enumeration by its word."""
    if isinstance(value, Severity):
        return value.name.lower()
    return value.value if isinstance(value, Audience) else value


def watch_keys(kind: DeviceKind) -> dict[str, Any]:
    """Return a kind's watches by the keys under which stages find what was changed of them.

    >>> sorted(watch_keys(KINDS["manhole_cover"]))
    ['batt', 'displacement', 'unusual', 'wlvl']
    """
    limits: dict[str, Any] = dict(limit_keys(kind))
    others = [watch for watch in kind.watches if watch not in limits.values()]
    return limits | {watch_key(watch): watch for watch in others}


def watch_key(watch: object) -> str:
    """Return the key of a watch that is no limit: the name of its type, in small letters."""
    return type(watch).__name__.lower()


def _watch_fields(kind: DeviceKind, rule_id: str) -> Iterator[Field]:
    for key, watch in watch_keys(kind).items():
        if isinstance(watch, Limit):
            if watch.rule_id == rule_id:
                yield from _limit_fields(kind, key, watch)
            continue
        for field in fields(watch):
            about = field.metadata
            if "low" in about and getattr(watch, about["rule"] or "", watch.rule_ids[0]) == rule_id:
                yield Field(
                    name=field.name,
                    about=about["about"],
                    default=getattr(watch, field.name),
                    form="number",
                    low=about["low"],
                    high=about["high"],
                    unit=about["unit"],
                    watch=key,
                    attribute=field.name,
                )


def _limit_fields(kind: DeviceKind, key: str, limit: Limit) -> Iterator[Field]:
    metric = kind.metric(limit.metric)
    side = Text("不高于", "at or under") if limit.below else Text("不低于", "at or over")
    for severity in Severity:
        name, text = severity.name.lower(), severity.text
        yield Field(
            name=name,
            about=Text(
                f"{metric.label.zh}{side.zh}此值为{text.zh}",
                f"{metric.label.en} {side.en} this is {text.en}",
            ),
            default=getattr(limit, name),
            form="number",
            low=metric.low,
            high=metric.high,
            optional=True,
            unit=metric.unit,
            watch=key,
            attribute=name,
        )
    more: tuple[tuple[str, Text, Literal["number", "count"], float, float, str], ...] = (
        ("hold", Text("连续多少次越限才算", "breaching readings in a row"), "count", 1, 1000, ""),
        ("hold_s", Text("越限持续多久才算", "how long it must last"), "number", 0, _MONTH_S, "s"),
        (
            "clear_margin",
            Text("恢复须越过限值多少", "how far inside it is over"),
            *("number", 0, metric.high - metric.low, metric.unit),
        ),
        ("clear_hold", Text("连续多少次恢复才算", "such readings in a row"), "count", 1, 1000, ""),
    )
    for name, about, form, low, high, unit in more:
        yield Field(
            name=name,
            about=about,
            default=getattr(limit, name),
            form=form,
            low=low,
            high=high,
            unit=unit,
            watch=key,
            attribute=name,
        )


def _alarm_fields(rule: AlarmRule) -> Iterator[Field]:
    def field(name: str, zh: str, en: str, **more: Any) -> Field:
        default = plain(getattr(rule, name))
        return Field(name=name, attribute=name, about=Text(zh, en), default=default, **more)

    def seconds(name: str, zh: str, en: str, high: float, **more: Any) -> Field:
        return field(name, zh, en, form="number", high=high, unit="s", **more)

    yield field("enabled", "是否启用", "whether it makes alarms", form="flag")
    yield field("severity", "至少这一级", "at least this grave", form="choice", choices=STEPS)
    audiences = tuple(audience.value for audience in Audience)
    yield field("audience", "告诉谁", "whom it concerns", form="choice", choices=audiences)
    yield seconds("on_delay_s", "持续多久才告警", "how long before an alarm", 7 * _DAY_S)
    yield seconds("off_delay_s", "恢复多久才消警", "how long before it clears", _MONTH_S)
    yield seconds(
        *("quiet_clear_s", "无新信号多久后消警", "quiet for so long clears it", _MONTH_S),
        low=1,
        optional=True,
    )
    yield seconds("reopen_window_s", "多久内再现算同一次", "so soon again: the same", 7 * _DAY_S)
    yield field("latched", "锁存至人工复位", "stays until it is reset", form="flag")
    yield field(
        *("mature_on_silence", "失联时待定变告警", "pending, then silent: an alarm"), form="flag"
    )
    yield seconds("allowed_lateness_s", "迟到多久内仍告警", "older never sounds", 7 * _DAY_S)
    yield field("class_code", "案件大小类", "class of the case", form="class")
    yield field(
        *("category", "部件或事件", "component or event"),
        form="choice",
        choices=("component", "event"),
    )
    yield field(
        *("verify", "核查方式", "what must agree before its case closes"),
        form="choice",
        choices=("sensor_and_human", "sensor_or_human", "sensor", "human"),
    )
    yield field(
        "handle_hours", "处置时限", "limit of handling", form="number", low=0.5, high=2160, unit="h"
    )
    yield field(
        *("on_site_minutes", "到场时限", "limit of being on site"),
        form="number",
        low=5,
        high=10_080,
        optional=True,
        unit="min",
    )
