"""What every device kind must keep; a new kind is checked without a line here."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import Audience, Text
from devices import KINDS, DeviceKind
from devices.care import CARE_COMMANDS, CARE_EVENTS, CARE_RULES
from devices.classes import classes
from devices.kind import Limit
from devices.limits import doubt_limits, limit_keys
from devices.native import encode_event, encode_record
from devices.registry import VIRTUAL_KINDS, kind_of
from devices.rules import VIRTUAL_RULES, find_rule, rules_of
from ingest.envelopes import native

NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
RESERVED = frozenset({"ts", "seq", "device_no", "quality", "extra"})
ATOMS = (
    r"(\[(g|ppm|ppb|pH|degF|in_i|ft_i|mi_i|NTU)\]|1|%|deg|Cel|bar|mol|Bq|Sv|Pa|By|Hz|lx|lm|cd"
    r"|rad|sr|min|ar|eq|[mgsAKVWJNTFHSCLltahdB])"
)
TERM = rf"([EPTGMkhdcmunp]?{ATOMS}-?[0-9]?|[0-9]+)?(\{{[!-z|~]+\}})?"
UNIT = re.compile(rf"/?{TERM}([./]{TERM})*")
"""The part of UCUM that sensors of a city need."""

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def in_both_languages(text: Text) -> bool:
    return bool(text.en.strip()) and bool(re.search(r"[\u4e00-\u9fff]", text.zh))


@every_kind
def test_a_kind_is_found_by_its_name_and_its_devices_by_their_prefix(kind: DeviceKind) -> None:
    assert KINDS[kind.name] is kind
    assert NAME.fullmatch(kind.name)
    assert kind.name not in VIRTUAL_KINDS
    assert re.fullmatch(r"[A-Z]{2,4}", kind.id_prefix)
    assert kind_of(f"{kind.id_prefix}-0001") == kind.name


def test_no_two_kinds_share_a_prefix() -> None:
    assert len({kind.id_prefix for kind in KINDS.values()}) == len(KINDS)


@every_kind
def test_a_metric_can_be_a_column_and_a_wire_key(kind: DeviceKind) -> None:
    names = [metric.name for metric in kind.metrics]
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(name) for name in names)
    assert all(len(name) > 1 for name in names), "keys of one letter are the envelope's"
    assert not RESERVED & set(names)
    assert [column.name for column in kind.table.columns] == [
        metric.name for metric in kind.reals + kind.exacts
    ]


@every_kind
def test_a_metric_rests_within_its_range_and_is_named_with_its_unit(kind: DeviceKind) -> None:
    for metric in kind.metrics:
        assert metric.low <= metric.rest <= metric.high, metric.name
        assert metric.low < metric.high, metric.name
        assert metric.noise >= 0, metric.name
        assert metric.unit, metric.name
        assert UNIT.fullmatch(metric.unit), metric.name
        assert in_both_languages(metric.label), metric.name
        assert metric.f8 or not metric.grows, f"{metric.name}: a counter in a real loses steps"
        assert 0 <= metric.decimals <= 7


@every_kind
def test_what_moves_says_where_it_is(kind: DeviceKind) -> None:
    exact = {metric.name for metric in kind.exacts}
    assert {"lon", "lat"} <= exact or not kind.moves


@every_kind
def test_intervals_are_positive(kind: DeviceKind) -> None:
    assert kind.interval_s > 0
    assert kind.idle_interval_s is None or kind.idle_interval_s >= kind.interval_s


@every_kind
def test_every_kind_has_what_device_care_needs(kind: DeviceKind) -> None:
    assert set(CARE_EVENTS) <= set(kind.events)
    assert set(CARE_COMMANDS) <= set(kind.commands)
    assert set(CARE_RULES) <= set(kind.rules)


@every_kind
def test_names_are_unique_and_labelled_in_both_languages(kind: DeviceKind) -> None:
    assert in_both_languages(kind.label)
    for things in (kind.events, kind.commands):
        names = [thing.name for thing in things]
        assert len(set(names)) == len(names)
        assert all(NAME.fullmatch(name) for name in names)
        assert all(in_both_languages(thing.label) for thing in things)
    rule_ids = [rule.rule_id for rule in kind.rules]
    assert len(set(rule_ids)) == len(rule_ids)
    assert all(in_both_languages(rule.label) for rule in kind.rules)


@every_kind
def test_watches_name_metrics_and_rules_that_exist(kind: DeviceKind) -> None:
    names = {metric.name for metric in kind.metrics}
    for watch in kind.watches:
        assert watch.watched
        assert set(watch.watched) <= names
        assert all(find_rule(kind.name, rule_id) for rule_id in watch.rule_ids)
        assert watch.source
        assert watch.about


@every_kind
def test_the_steps_of_a_limit_lie_in_range_and_get_graver_in_order(kind: DeviceKind) -> None:
    for watch in kind.watches:
        if isinstance(watch, Limit):
            metric = kind.metric(watch.metric)
            gravest_first = [limit for _, limit in watch.steps]
            assert gravest_first == sorted(gravest_first, reverse=not watch.below)
            assert all(metric.low <= limit <= metric.high for limit in gravest_first)
            assert watch.hold >= 1
            assert watch.clear_hold >= 1
            assert watch.clear_margin >= 0


@every_kind
def test_one_rule_is_fed_by_one_watch(kind: DeviceKind) -> None:
    # two would clear each other's alarm
    fed = [watch.rule_id for watch in kind.watches if isinstance(watch, Limit)]
    assert len(set(fed)) == len(fed)


@every_kind
def test_every_rule_is_fed_by_something(kind: DeviceKind) -> None:
    fed = {event.rule_id for event in kind.events}
    for watch in kind.watches:
        fed |= set(watch.rule_ids)
    care = {rule.rule_id for rule in CARE_RULES}  # fed by the hub itself too
    assert {rule.rule_id for rule in kind.rules} - care <= fed


@every_kind
def test_every_event_names_a_rule_that_exists_or_none(kind: DeviceKind) -> None:
    for event in kind.events:
        assert event.rule_id is None or find_rule(kind.name, event.rule_id), event.name


@pytest.mark.parametrize("kind_name", [*KINDS, *VIRTUAL_RULES])
def test_a_rule_can_be_kept_and_its_case_has_a_class_of_the_city(kind_name: str) -> None:
    assert rules_of(kind_name)
    for rule in rules_of(kind_name):
        assert NAME.fullmatch(rule.rule_id)
        assert in_both_languages(rule.label)
        assert rule.handle_hours > 0
        assert min(rule.on_delay_s, rule.off_delay_s, rule.allowed_lateness_s) >= 0
        assert rule.source
        if rule.class_code:  # else it never becomes a case
            assert rule.audience is Audience.CITY, "a device fault is no city case"
            assert rule.class_code in classes(rule.category), rule.rule_id


@every_kind
def test_a_component_kind_has_a_class_of_the_city(kind: DeviceKind) -> None:
    assert kind.class_code == "" or kind.class_code in classes("component")


@every_kind
def test_a_resting_device_breaches_no_limit_in_a_thousand_readings(kind: DeviceKind) -> None:
    chance = random.Random(f"rest of {kind.name}")
    limits = [watch for watch in kind.watches if isinstance(watch, Limit)]
    for watch in limits:
        metric = kind.metric(watch.metric)
        for _ in range(1_000):
            value = min(max(chance.gauss(metric.rest, metric.noise), metric.low), metric.high)
            assert watch.judge(value) is None, (watch.metric, value)


@every_kind
@given(data=st.data())
def test_what_is_encoded_reads_back_to_the_last_digit_of_the_sensor(
    kind: DeviceKind, data: st.DataObject
) -> None:
    values = {
        metric.name: data.draw(st.none() | st.floats(metric.low, metric.high))
        for metric in kind.metrics
    }
    ts = data.draw(st.integers(0, 4_102_444_800_000_000))
    seq = data.draw(st.integers(0, 2**62))
    found = native.read_record(
        native.parse(encode_record(kind, values, ts_micros=ts, seq=seq)), kind
    )
    assert (found.stamp.ts, found.stamp.seq, found.unknown) == (ts, seq, {})
    assert found.values.keys() == values.keys()
    for metric in kind.metrics:
        read, value = found.values[metric.name], values[metric.name]
        if value is None:
            assert read is None
        else:
            assert read == pytest.approx(value, abs=0.5000001 * 10**-metric.decimals)
            assert read is not None
            assert metric.low <= read <= metric.high, "rounding must not leave the range"


@every_kind
def test_every_event_reads_back(kind: DeviceKind) -> None:
    for event in kind.events:
        sent = encode_event(event.name, ts_micros=1000, seq=1, on=True, values={"a": 1})
        found = native.read_event(native.parse(sent))
        assert (found.name, found.on, found.values) == (event.name, True, {"a": 1})
        assert (found.stamp.ts, found.stamp.seq) == (1000, 1)


@every_kind
def test_a_device_may_have_limits_of_its_own_for_each_watched_metric(kind: DeviceKind) -> None:
    for key, watch in limit_keys(kind).items():
        metric = kind.metric(watch.metric)
        assert doubt_limits(kind.name, {key: {"red": metric.rest}}) is None
    assert doubt_limits(kind.name, {"no_such_metric": {"red": 1}}) is not None
