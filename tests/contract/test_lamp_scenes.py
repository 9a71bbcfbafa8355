"""Each simulated lamp fault is found by its own rule, on its own lamp, and nothing else is."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from core.batch import Finding
from simulators.city import City, build_city
from simulators.stream import Message
from tests.batches import news
from tests.contract.test_scenes import find, perform

LEARNT_MIN = 65  # at a row a minute: what a lamp needs to know itself


@pytest.fixture(scope="module")
def street() -> City:
    """A few lamps of one circuit, so that hours of them are soon over."""
    city = build_city(7, components=0)
    lamps = [device for device in city.devices if device.kind == "street_lamp"]
    return replace(city, devices=lamps[:2])


def lamps(
    street: City, name: str, messages: Sequence[Message]
) -> tuple[list[Finding], dict[str, int]]:
    findings, numbers = find(street, name, list(messages))
    ranks = {"unusual", "unlike_class"}  # never shown alone
    return [each for each in news(findings) if each.rule_id not in ranks], numbers


@pytest.mark.parametrize(
    ("name", "rule", "kind", "within_s"),
    [
        ("lamp_open", "lamp_out", "open_circuit", 120),
        ("lamp_dead", "lamp_out", "dead", 120),
        ("lamp_short", "lamp_short", "short_circuit", 60),
        ("lamp_pf_decay", "lamp_pf_low", "power_factor", 1900),
        ("lamp_leak", "leakage_rising", "leakage", 1200),
        ("lamp_flicker", "lamp_flicker", "flicker", 60),
    ],
)
def test_a_fault_is_found_by_its_own_rule_on_its_own_lamp(
    street: City, name: str, rule: str, kind: str, within_s: int
) -> None:
    messages, (player,) = perform(street, name, before_min=LEARNT_MIN, lasts_s=3000, after_min=8)
    found, numbers = lamps(street, name, messages)
    assert {each.device_no for each in found} == {numbers[player]}
    first = found[0]
    assert (first.rule_id, first.kind) == (rule, kind)
    began = messages[0].at // 60_000_000 * 60_000_000 + LEARNT_MIN * 60_000_000
    assert (first.ts - began) / 1e6 <= within_s + 60
    others = {each.rule_id for each in found} - {rule}
    assert others <= ({"leakage"} if name == "lamp_leak" else set())


def test_leakage_turns_red_at_the_limit(street: City) -> None:
    messages, _ = perform(street, "lamp_leak", before_min=LEARNT_MIN, lasts_s=3000, after_min=0)
    found, _ = lamps(street, "lamp_leak", messages)
    assert [each.rule_id for each in found] == ["leakage_rising", "leakage"]
    assert found[0].ts < found[1].ts - 600e6  # a quarter of an hour ahead


def test_feeder_back_leaves_two_lamps_and_no_more(street: City) -> None:
    lamp, _ = street.devices
    four = [replace(lamp, device_id=f"sim-SL-{n:04}") for n in range(1, 5)]
    street = replace(street, devices=four)
    messages, _ = perform(
        street, "feeder_leftovers", before_min=LEARNT_MIN, lasts_s=1800, after_min=0, outage=600
    )
    found, _ = lamps(street, "feeder_leftovers", messages)
    assert [each.rule_id for each in found] == ["lamp_out"] * 2
    assert len({each.device_no for each in found}) == 2
