"""The rules of a city in memory (规则簿): what kinds bring, overlaid by what the city changed.

A change names a kind, a rule, a scope and the fields that differ. For one device the most specific
scope wins, field by field: the device, its grid cell, the class of its component, its kind, and at
last the rule as shipped. A ladder that came with the device into the registry stands between grid
and device, and replaces the wider steps as a whole: a river station's datum is its own.

Detectors get their part as the live mapping ``limits`` (:mod:`devices.registry`), the alarm engine
asks :meth:`Rulebook.rule`. Neither loses state when a rule changes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import psycopg
from psycopg.rows import tuple_row

from core.batch import Finding
from core.db import Connection
from core.model import Audience, Severity, Text
from devices import KINDS
from devices.kind import AlarmRule, Limit
from devices.rule_fields import STEPS, Field, fields_of, plain, watch_keys
from devices.rules import find_rule

SELECT_CHANGE: Final = "SELECT coalesce(max(change_no), 0) FROM hub.alarm_rule"
SELECT_RULES: Final = """
SELECT DISTINCT ON (kind, rule_id, scope) kind, rule_id, scope, version, body
  FROM hub.alarm_rule ORDER BY kind, rule_id, scope, version DESC
"""
SHIPPED: Final = "default"
"""Where a value comes from that nobody changed."""
REGISTER: Final = "register"
"""Where a step comes from that was imported with its device."""
_WORDS: Final[Mapping[str, type[Severity | Audience]]] = {
    "severity": Severity,
    "audience": Audience,
}


class Placed(Protocol):
    """A device, as far as a rule asks for it; a row of the registry is one."""

    @property
    def device_id(self) -> str:
        """Its id."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def component_code(self) -> str | None:
        """The component that it watches, 16 digits."""

    @property
    def grid_code(self) -> str | None:
        """The grid cell that it stands in."""


class Registered(Placed, Protocol):
    """A row of the registry, as far as detectors ask for it."""

    @property
    def device_no(self) -> int:
        """Its number."""

    @property
    def limits(self) -> Mapping[str, Any] | None:
        """Its own ladders."""


@dataclass(frozen=True, slots=True)
class Override:
    """What a city changed of a rule, in one scope.

    Attributes:
        kind: Of the devices.
        rule_id: The rule.
        scope: ``kind``, ``class:0102``, ``grid:14118200100101`` or ``device:MH-0001``.
        version: Of the rule, when it was changed.
        body: The fields that differ.
    """

    kind: str
    rule_id: str
    scope: str
    version: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """A value, and where it comes from.

    Attributes:
        value: JSON-ready.
        scope: A scope, :data:`SHIPPED` or :data:`REGISTER`.
        version: Of the rule when it was set; 1 as shipped.
    """

    value: Any
    scope: str
    version: int


class Rulebook:
    """All that was changed, by rule and scope.

    ``change`` is the number of the newest change that it knows.
    """

    def __init__(self, overrides: Iterable[Override] = (), change: int = 0) -> None:
        self._by_rule: dict[tuple[str, str], dict[str, Override]] = {}
        self._by_kind: dict[str, list[str]] = {}
        self.replace(overrides, change)

    def replace(self, overrides: Iterable[Override], change: int) -> None:
        """Take these for all there is."""
        by_rule: dict[tuple[str, str], dict[str, Override]] = {}
        by_kind: dict[str, list[str]] = {}
        for override in overrides:
            key = override.kind, override.rule_id
            if key not in by_rule:
                by_kind.setdefault(override.kind, []).append(override.rule_id)
            by_rule.setdefault(key, {})[override.scope] = override
        self._by_rule, self._by_kind, self.change = by_rule, by_kind, change

    def load(self, conn: psycopg.Connection[Any]) -> None:
        """Read all rules anew."""
        with conn.cursor(row_factory=tuple_row) as cursor:
            newest = cursor.execute(SELECT_CHANGE).fetchone()
            change = int(newest[0]) if newest else 0
            self.replace((Override(*row) for row in cursor.execute(SELECT_RULES)), change)

    async def refresh(self, conn: Connection) -> bool:
        """Read all rules anew if there was a change; return whether there was.

        Cheap enough for every turn of a role: one look at an index.
        """
        async with conn.cursor(row_factory=tuple_row) as cursor:
            newest = await (await cursor.execute(SELECT_CHANGE)).fetchone()
            change = int(newest[0]) if newest else 0
            if change == self.change:
                return False
            rows = await (await cursor.execute(SELECT_RULES)).fetchall()
        self.replace((Override(*row) for row in rows), change)
        return True

    def rule(self, rule_id: str, device: Placed) -> AlarmRule:
        """Return what a finding means on a device; of an unknown rule, a matter for maintainers."""
        shipped = find_rule(device.kind, rule_id)
        if shipped is None:
            label = Text(rule_id, rule_id)
            maintenance = Audience.MAINTENANCE
            return AlarmRule(rule_id, label, Severity.BLUE, audience=maintenance, verify="human")
        changed: dict[str, Any] = {}
        for override in self._chain(device, rule_id):
            for name, value in override.body.items():
                field = fields_of(device.kind, rule_id).get(name)
                if field is not None and not field.watch:
                    changed[field.attribute] = _typed(field.attribute, value)
        return replace(shipped, **changed) if changed else shipped

    def version(self, rule_id: str, device: Placed) -> int:
        """Return the version of a rule that holds for a device; 1 as shipped."""
        return max((each.version for each in self._chain(device, rule_id)), default=1)

    def stamped(self, finding: Finding, device: Placed | None) -> Finding:
        """Return a finding with the rule's version, and with its rank where a city gave it one.

        A ladder's steps have ranks of their own, which stay.
        """
        if device is None or (device.kind, finding.rule_id) not in self._by_rule:
            return finding
        version = self.version(finding.rule_id, device)
        severity = finding.severity
        if finding.kind != "limit":
            given = self.rule(finding.rule_id, device).severity
            shipped = find_rule(device.kind, finding.rule_id)
            severity = given if shipped and given is not shipped.severity else severity
        return replace(finding, rule_version=version, severity=severity)

    def newest(self, kind: str, rule_id: str) -> int:
        """Return the version of a rule, whatever its scopes; 1 as shipped."""
        scopes = self._by_rule.get((kind, rule_id), {})
        return max((override.version for override in scopes.values()), default=1)

    def body(self, kind: str, rule_id: str, scope: str) -> Mapping[str, Any]:
        """Return what was changed in a scope itself."""
        override = self._by_rule.get((kind, rule_id), {}).get(scope)
        return override.body if override else {}

    def scopes(self, kind: str, rule_id: str) -> Mapping[str, Override]:
        """Return the scopes in which a rule was changed."""
        return self._by_rule.get((kind, rule_id), {})

    def without(self, scope: str) -> "Rulebook":
        """Return the same rules, but for what one scope says."""
        kept = (
            override
            for scopes in self._by_rule.values()
            for override in scopes.values()
            if override.scope != scope
        )
        return Rulebook(kept, self.change)

    def with_changes(self, changes: Iterable[Override]) -> "Rulebook":
        """Return the same rules, with these in place of what their scopes say."""
        kept = {
            (each.kind, each.rule_id, each.scope): each
            for scopes in self._by_rule.values()
            for each in scopes.values()
        }
        kept |= {(each.kind, each.rule_id, each.scope): each for each in changes}
        return Rulebook(kept.values(), self.change)

    def origins(
        self,
        rule_id: str,
        device: Placed,
        ladders: Mapping[str, Any] | None = None,
    ) -> dict[str, Origin]:
        """Return each field of a rule as it holds for a device, and where it comes from.

        Args:
            rule_id: The rule.
            device: The device.
            ladders: Its ladders in the registry.
        """
        fields = fields_of(device.kind, rule_id)
        found = {name: Origin(field.default, SHIPPED, 1) for name, field in fields.items()}
        registered = _registered(fields, ladders or {})
        for override in self._chain(device, rule_id):
            if override.scope.startswith("device:"):
                found |= registered
                registered = {}
            known = override.body.keys() & fields.keys()
            found |= {
                name: Origin(override.body[name], override.scope, override.version)
                for name in known
            }
        return found | registered

    def watched(self, device: Placed, ladders: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what detectors must know of a device: fields by watch, where anything differs.

        Args:
            device: The device.
            ladders: Its ladders in the registry.
        """
        found: dict[str, Any] = dict(ladders or {})
        for rule_id in self._by_kind.get(device.kind, ()):
            touched = {
                fields_of(device.kind, rule_id)[name].watch
                for override in self._chain(device, rule_id)
                for name in override.body.keys() & fields_of(device.kind, rule_id).keys()
            }
            for name, origin in self.origins(rule_id, device, ladders).items():
                field = fields_of(device.kind, rule_id)[name]
                if field.watch and field.watch in touched:
                    found.setdefault(field.watch, {})
                    found[field.watch] = {**found[field.watch], field.attribute: origin.value}
        return found

    def differing(self, devices: Iterable["Registered"]) -> dict[int, Mapping[str, Any]]:
        """Return :meth:`watched` of each device of which anything differs, by its number.

        Devices of one kind, class and cell share one object, however many they are.
        """
        shared: dict[tuple[str, ...], Mapping[str, Any]] = {}
        found: dict[int, Mapping[str, Any]] = {}
        named = {scope for scopes in self._by_rule.values() for scope in scopes}
        for device in devices:
            if device.kind not in self._by_kind:
                differs = device.limits or {}
            elif device.limits or f"device:{device.device_id}" in named:
                differs = self.watched(device, device.limits)
            else:
                group = (device.kind, *scopes_of(device)[:-1])
                if group not in shared:
                    shared[group] = self.watched(device)
                differs = shared[group]
            if differs:
                found[device.device_no] = differs
        return found

    def _chain(self, device: Placed, rule_id: str) -> Iterator[Override]:
        """Yield what was changed for a device, the most specific last."""
        scopes = self._by_rule.get((device.kind, rule_id))
        if scopes:
            for scope in scopes_of(device):
                if scope in scopes:
                    yield scopes[scope]


def scopes_of(device: Placed) -> tuple[str, ...]:
    """Return the scopes that a device is in, the most specific last."""
    code = device.component_code
    own = KINDS[device.kind].class_code if device.kind in KINDS else ""
    class_code = code[6:10] if code else own
    return (
        "kind",
        *([f"class:{class_code}"] if class_code else []),
        *([f"grid:{device.grid_code}"] if device.grid_code else []),
        f"device:{device.device_id}",
    )


def _registered(fields: Mapping[str, Field], ladders: Mapping[str, Any]) -> dict[str, Origin]:
    """Return the steps of a device's own ladders; those it does not have are none."""
    return {
        name: Origin(ladders[field.watch].get(field.attribute), REGISTER, 1)
        for name, field in fields.items()
        if field.attribute in STEPS and isinstance(ladders.get(field.watch), Mapping)
    }


def _typed(attribute: str, value: Any) -> Any:
    match attribute:
        case "severity":
            return Severity[value.upper()]
        case "audience":
            return Audience(value)
        case _:
            return value


def doubt_rule(
    kind: str, rule_id: str, body: object, beneath: Mapping[str, Origin] | None = None
) -> Text | None:
    """Return why a rule cannot be changed so, or None where it can.

    Args:
        kind: Of the devices.
        rule_id: The rule.
        body: The fields that differ.
        beneath: What holds without them; None: the rule as shipped.

    >>> doubt_rule("manhole_cover", "cover_flooded", {"orange": 25}).en
    'orange cannot be 25; it must be: 0 to 20 m or null'
    """
    fields = fields_of(kind, rule_id)
    if not fields:
        return Text(f"{kind} 没有规则 {rule_id!r}", f"{kind} has no rule {rule_id!r}")
    if not isinstance(body, Mapping):
        return Text("规则的改动必须是一个对象", "what changes of a rule must be an object")
    for name, value in body.items():
        field = fields.get(name)
        if field is None:
            known = ", ".join(fields)
            return Text(
                f"{rule_id} 没有字段 {name!r}，可用：{known}",
                f"{rule_id} has no field {name!r}; it has: {known}",
            )
        if doubt := field.doubt(value):
            return doubt
    held = {name: origin.value for name, origin in (beneath or {}).items()}
    values = {name: field.default for name, field in fields.items()} | held | dict(body)
    return _doubt_ladders(kind, fields, values)


def _doubt_ladders(
    kind: str, fields: Mapping[str, Field], values: Mapping[str, Any]
) -> Text | None:
    """Return which ladder would not get graver step by step."""
    ladders: dict[str, dict[str, float]] = {}
    for name, field in fields.items():
        if field.attribute in STEPS and field.watch and values[name] is not None:
            ladders.setdefault(field.watch, {})[field.attribute] = values[name]
    for key, steps in ladders.items():
        watch = watch_keys(KINDS[kind])[key]
        at = [steps[name] for name in STEPS if name in steps]
        below = isinstance(watch, Limit) and watch.below
        if at != sorted(at, reverse=below):
            shown = ", ".join(f"{name} {steps[name]:g}" for name in STEPS if name in steps)
            return Text(
                f"{key} 的各级限值没有逐级加重：{shown}",
                f"the steps of {key} do not get graver in order: {shown}",
            )
    return None


def shipped(kind: str, rule_id: str) -> dict[str, Any]:
    """Return each field of a rule as shipped, JSON-ready."""
    return {name: plain(field.default) for name, field in fields_of(kind, rule_id).items()}
