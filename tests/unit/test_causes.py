"""The cause tree: each alarm has one cause at most, and no incident holds what two causes did."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from alerts.causes import Candidate, Cause, ancestors, nearest, promote
from alerts.families import EVERYWHERE, EXPLAINS, PROMOTIONS, Promotion
from alerts.notices import Standing, word_on
from alerts.regrouping import weigh
from core.model import Severity
from simulators.scenes.storm import Storm, make_storm
from simulators.storm_score import Row, judge_storm

NOW = datetime(2026, 11, 21, 4, tzinfo=UTC)
NODES = tuple(f"N{n}" for n in range(6))
ABOVE = st.dictionaries(st.sampled_from(NODES), st.integers(1, 4))
CAUSES = st.lists(
    st.builds(
        Cause,
        st.integers(1, 50),
        st.sampled_from(NODES),
        st.sampled_from(sorted(EXPLAINS.keys() - EVERYWHERE)),
    ),
    max_size=6,
    unique_by=lambda cause: cause.incident_id,
)
RULES = st.sampled_from(["offline", "lamp_out", "cover_open", "gateway_offline"])


@given(CAUSES, ABOVE, RULES)
def test_an_alarm_has_the_nearest_cause_that_explains_it(
    causes: list[Cause], above: dict[str, int], rule: str
) -> None:
    found = nearest(causes, above, rule)
    explaining = [each for each in causes if rule in EXPLAINS[each.rule_id]]
    if found is None:
        assert all(each.node not in above for each in explaining)
        return
    assert found in explaining
    assert all(above[each.node] >= above[found.node] for each in explaining if each.node in above)
    assert nearest(list(reversed(causes)), above, rule) == found


@given(
    st.dictionaries(
        st.sampled_from([f"L{n}" for n in range(30)]),
        st.dictionaries(st.sampled_from(NODES), st.integers(1, 3), max_size=3),
        min_size=1,
    ),
    st.integers(1, 40),
)
def test_no_device_is_explained_by_two_promoted_nodes(
    above: dict[str, dict[str, int]], expected: int
) -> None:
    rows = [{"device_id": device, "grid_code": "1"} for device in above]
    known = {node: {"kind": "feeder", "expected": expected} for node in NODES}
    found = promote(weigh(rows, above, known), PROMOTIONS)
    seen: set[str] = set()
    for each in found:
        assert not seen & each.members
        seen |= each.members
        wanted = PROMOTIONS[each.candidate.kind]
        assert len(each.members) >= wanted.least
        assert each.candidate.share >= wanted.share
        assert each.candidate.score >= wanted.score
        assert each.members <= each.candidate.alarmed
        assert len(each.alternatives) <= 3


def test_a_fault_of_the_hub_explains_silence_everywhere_unless_something_nearer_does() -> None:
    hub, gateway = Cause(1, "hub", "pipeline_down"), Cause(2, "GW", "gateway_offline")
    assert nearest([hub], {}, "offline") == hub
    assert nearest([hub, gateway], {"GW": 7}, "offline") == gateway
    assert nearest([hub], {}, "cover_open") is None


def test_of_feeders_that_fail_together_their_substation_is_to_blame() -> None:
    rows = [{"device_id": f"L{n}", "grid_code": str(n % 3)} for n in range(30)]
    above = {f"L{n}": {f"F{n // 10}": 1, "S": 2} for n in range(30)}
    known = {"S": {"kind": "feeder", "expected": 30}} | {
        f"F{n}": {"kind": "feeder", "expected": 10} for n in range(3)
    }
    (found,) = promote(weigh(rows, above, known), PROMOTIONS)
    assert found.candidate.node == "S"
    assert len(found.members) == 30


def test_feeders_that_fail_by_chance_together_are_blamed_each() -> None:
    rows = [{"device_id": f"L{n}", "grid_code": "1"} for n in range(30)]
    above = {f"L{n}": {f"F{n // 10}": 1} for n in range(30)}
    known = {f"F{n}": {"kind": "feeder", "expected": 10} for n in range(3)}
    found = promote(weigh(rows, above, known), PROMOTIONS)
    assert {each.candidate.node for each in found} == {"F0", "F1", "F2"}


def test_a_node_is_not_blamed_for_too_few() -> None:
    few = Candidate("F", "feeder", 1, frozenset({"a", "b"}), 2, 2)
    small = Candidate("G", "feeder", 1, frozenset({"c", "d", "e"}), 10, 3)
    assert promote([few, small], {"feeder": Promotion("feeder_down", "power")}) == []


def test_distances_are_the_shortest() -> None:
    assert ancestors([("a", "N", 3), ("a", "N", 1), ("b", "N", 2)]) == {
        "a": {"N": 1},
        "b": {"N": 2},
    }


def test_people_are_told_of_what_is_new_and_reminded_of_what_waits() -> None:
    quiet = Standing(Severity.ORANGE, shown=0, unacked=0)
    assert word_on(quiet, NOW) is None
    assert word_on(Standing(Severity.ORANGE, 1, 1), NOW) == "announced"
    assert word_on(Standing(Severity.ORANGE, 1, 0), NOW) is None, "taken note of in time"
    same = Standing(Severity.ORANGE, 1, 1, NOW, NOW, 1, Severity.ORANGE)
    assert word_on(replace(same, severity=Severity.RED), NOW) == "graver"
    assert word_on(replace(same, shown=2), NOW) == "grew"
    assert word_on(same, NOW + timedelta(seconds=3_599)) is None
    assert word_on(same, NOW + timedelta(seconds=3_600)) == "reminded"


def perfect(storm: Storm) -> list[Row]:
    causes = [
        Row(n, node, frozenset({node, *devices}))
        for n, (node, devices) in enumerate(storm.causes.items(), 1)
    ]
    alone = [Row(100 + n, "", frozenset({name})) for n, name in enumerate(storm.unrelated)]
    return causes + alone


def test_the_judge_of_a_storm_refuses_a_hub_that_lumps_all_and_one_that_lumps_nothing() -> None:
    storm = make_storm(abnormal=20, causes=2)
    good = perfect(storm)
    assert judge_storm(storm, good) == []
    everything = frozenset[str]().union(*(row.members for row in good))
    assert judge_storm(storm, [Row(1, next(iter(storm.causes)), everything)])
    assert judge_storm(storm, [Row(n, "", frozenset({d})) for n, d in enumerate(everything)])
    first, second, *rest = good
    moved = next(iter(second.members))
    mixed = [Row(1, first.cause_node, first.members | {moved}), second, *rest]
    assert judge_storm(storm, mixed)
    folded = [Row(1, first.cause_node, first.members | rest[0].members), second, *rest[1:]]
    assert judge_storm(storm, folded)
