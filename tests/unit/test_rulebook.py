"""Rules as data: the narrowest scope wins field by field, and what cannot be is refused by name."""

from dataclasses import replace

import pytest

from core.batch import Finding
from core.model import Audience, Edge, Severity, Text
from devices import KINDS
from devices.kind import Limit
from devices.registry import Device, Registry
from devices.rule_fields import fields_of, watch_keys
from devices.rulebook import Override, Rulebook, doubt_rule
from devices.rules import VIRTUAL_RULES, find_rule, rules_of

COVER = Device(
    1,
    "MH-0001",
    "manhole_cover",
    component_code="1411820102000001",
    grid_code="14118200100101",
)
OTHER = replace(COVER, device_no=2, device_id="MH-0002", grid_code=None, component_code=None)
RULE = ("manhole_cover", "cover_flooded")


def changed(scope: str, version: int = 2, **body: object) -> Override:
    return Override(*RULE, scope, version, body)


def test_without_changes_a_rule_is_the_one_shipped() -> None:
    rules = Rulebook()
    assert rules.rule("cover_flooded", COVER) is find_rule(*RULE)
    assert rules.version("cover_flooded", COVER) == 1
    assert rules.watched(COVER) == {}


def test_the_narrowest_scope_wins_field_by_field() -> None:
    rules = Rulebook(
        [
            changed("kind", 2, on_delay_s=60, off_delay_s=61, handle_hours=5, severity="red"),
            changed("class:0102", 3, off_delay_s=120, handle_hours=6),
            changed("grid:14118200100101", 4, handle_hours=7, latched=True),
            changed("device:MH-0001", 5, latched=False, audience="maintenance"),
        ]
    )
    rule = rules.rule("cover_flooded", COVER)
    assert (rule.on_delay_s, rule.off_delay_s, rule.handle_hours) == (60, 120, 7)
    assert (rule.latched, rule.severity, rule.audience) == (
        False,
        Severity.RED,
        Audience.MAINTENANCE,
    )
    assert rules.rule("cover_flooded", OTHER).handle_hours == 6
    assert rules.version("cover_flooded", COVER) == 5
    assert rules.version("cover_flooded", OTHER) == 3


def test_a_rule_that_nobody_described_is_a_matter_for_maintainers() -> None:
    rule = Rulebook().rule("of_tomorrow", COVER)
    assert (rule.audience, rule.verify) == (Audience.MAINTENANCE, "human")


def test_each_value_tells_where_it_comes_from() -> None:
    rules = Rulebook([changed("kind", 2, hold=4), changed("device:MH-0001", 3, orange=0.5)])
    origins = rules.origins("cover_flooded", COVER)
    assert (origins["hold"].value, origins["hold"].scope) == (4, "kind")
    assert (origins["orange"].value, origins["orange"].version) == (0.5, 3)
    assert (origins["clear_hold"].value, origins["clear_hold"].scope) == (2, "default")


def test_steps_of_the_register_replace_the_wider_ladder_as_a_whole_but_not_the_device_s() -> None:
    gauge = Device(9, "WG-0001", "water_gauge", limits={"level": {"orange": 3.0, "red": 4.0}})
    wide = Override("water_gauge", "level_ladder", "kind", 2, {"blue": 1.0, "hold": 5})
    own = Override("water_gauge", "level_ladder", "device:WG-0001", 3, {"red": 4.5})
    watched = Rulebook([wide, own]).watched(gauge, gauge.limits)["level"]
    assert {name: watched[name] for name in ("blue", "yellow", "orange", "red", "hold")} == {
        "blue": None,
        "yellow": None,
        "orange": 3.0,
        "red": 4.5,
        "hold": 5,
    }


def test_the_registry_s_live_mapping_stays_the_same_object_and_tells_of_changes() -> None:
    beside = replace(COVER, device_no=2, device_id="MH-0002")
    registry = Registry([COVER, beside])
    limits = registry.limits
    registry.rules.replace([changed("kind", orange=0.5)], 1)
    registry.replace([COVER, beside])
    assert registry.limits is limits
    assert limits[1] is limits[2]
    assert (limits[1]["wlvl"]["orange"], limits.epoch) == (0.5, 1)
    registry.replace([COVER, beside])
    assert limits.epoch == 1
    registry.rules.replace([changed("kind", 3)], 2)
    registry.replace([COVER, beside])
    assert (limits, limits.epoch) == ({}, 2)


def test_a_finding_is_stamped_with_the_version_that_judged() -> None:
    finding = Finding(
        device_no=1,
        rule_id="cover_open",
        detector="displacement",
        kind="open",
        edge=Edge.OPEN,
        ts=0,
        first_ts=0,
        received_at=0,
        severity=Severity.RED,
        explain=Text("开", "open"),
    )
    override = Override("manhole_cover", "cover_open", "kind", 4, {"severity": "orange"})
    rules = Rulebook([override])
    assert (rules.stamped(finding, COVER).rule_version, finding.rule_version) == (4, 1)
    assert rules.stamped(finding, COVER).severity is Severity.ORANGE
    step = replace(finding, kind="limit")
    assert rules.stamped(step, COVER).severity is Severity.RED
    assert rules.stamped(finding, None) is finding


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"orange": 25}, "orange cannot be 25; it must be: 0 to 20 m or null"),
        ({"hold": 0}, "hold cannot be 0; it must be: a whole number 1 to 1000"),
        ({"hold": 2.5}, "hold cannot be 2.5; it must be: a whole number 1 to 1000"),
        ({"hold": True}, "hold cannot be True; it must be: a whole number 1 to 1000"),
        ({"severity": "purple"}, "severity cannot be 'purple'; it must be: blue, yellow,"),
        ({"enabled": None}, "enabled cannot be None; it must be: true or false"),
        ({"on_delay_s": -1}, "on_delay_s cannot be -1; it must be: 0 to 604800 s"),
        ({"on_delay_s": float("nan")}, "on_delay_s cannot be nan"),
        ({"class_code": "9999"}, "class_code cannot be '9999'"),
        ({"colour": 1}, "cover_flooded has no field 'colour'; it has: enabled, severity"),
        ({"red": 0.4}, "the steps of wlvl do not get graver in order: orange 0.3, red 0.4"),
        ([], "what changes of a rule must be an object"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field_and_what_it_may_be(
    body: object, says: str
) -> None:
    doubt = doubt_rule(*RULE, body)
    assert doubt is not None
    assert doubt.en.startswith(says)
    assert doubt.zh


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"red": 0.1},
        {"orange": None, "yellow": 0.5},
        {"quiet_clear_s": None},
        {"class_code": ""},
        {"on_site_minutes": 30, "verify": "human", "category": "event"},
    ],
)
def test_what_can_be_is_taken(body: dict[str, object]) -> None:
    assert doubt_rule(*RULE, body) is None


@pytest.mark.parametrize("kind", [*KINDS, *VIRTUAL_RULES])
def test_every_rule_of_every_kind_takes_its_own_values(kind: str) -> None:
    for rule in rules_of(kind):
        fields = fields_of(kind, rule.rule_id)
        assert len({(field.watch, field.attribute) for field in fields.values()}) == len(fields)
        shipped = {name: field.default for name, field in fields.items()}
        assert doubt_rule(kind, rule.rule_id, shipped) is None
        assert all(field.about.zh and field.about.en for field in fields.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_watch_has_a_key_and_every_limit_can_be_changed(kind: str) -> None:
    keys = watch_keys(KINDS[kind])
    assert len(keys) == len(KINDS[kind].watches)
    for key, watch in keys.items():
        if isinstance(watch, Limit):
            names = {f.attribute for f in fields_of(kind, watch.rule_id).values() if f.watch == key}
            assert names >= {"blue", "red", "hold", "hold_s", "clear_margin", "clear_hold"}
