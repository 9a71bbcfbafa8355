"""A random walk over the machine of cases: no forbidden state, and what is filed ends verified."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from alerts.case import (
    FINAL,
    MOVES,
    WATCH,
    Case,
    CaseState,
    close,
    confirm,
    dispatch,
    evaluate,
    feed_back,
    file,
    merge,
    move,
    recur,
    rework,
)
from alerts.clocks import CaseClock, Limit, Name, tick, turn
from alerts.worktime import Calendar
from core.errors import ConflictError
from core.model import Severity

NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
CALENDAR = Calendar()
LIMITS: dict[Name, Limit] = {
    "accept": Limit(1 / 6, "urgent_hours", "test"),
    "file": Limit(0.5, "urgent_hours", "test"),
    "dispatch": Limit(0.25, "urgent_hours", "test"),
    "sign": Limit(0.5, "urgent_hours", "test"),
    "on_site": Limit(0.5, "urgent_hours", "test"),
    "handle": Limit(4, "working_hours", "test"),
    "verify": Limit(2, "urgent_hours", "test"),
}
FEW = 6
"""Cases at a time; one that ends makes room for another."""


@dataclass
class Walk:
    """Cases that anything may happen to at any time, as staff, hub and clock would have it."""

    chance: random.Random
    now: datetime = NOON
    made: int = 0
    cases: dict[str, Case] = field(default_factory=dict)
    clocks: dict[str, list[CaseClock]] = field(default_factory=dict)
    filed: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    merged: dict[str, str] = field(default_factory=dict)
    ended: dict[str, CaseState] = field(default_factory=dict)

    def step(self) -> bool:
        """Try something at random; return whether it was allowed."""
        self.now += timedelta(seconds=self.chance.choice((1, 60, 1800, 20_000)))
        if len(self.cases) < FEW:
            self._report()
        case = self.chance.choice(list(self.cases.values()))
        action = self.chance.choice(ACTIONS)
        if action == "tick":
            self._tick(case)
            return True
        try:
            after, step = self._act(case, action)
        except ConflictError:
            return False
        self._check(case, after)
        self.cases[case.case_no] = after
        self.clocks[case.case_no] = turn(
            self.clocks[case.case_no],
            case.case_no,
            step,
            now=self.now,
            limit_of=LIMITS.get,
            calendar=CALENDAR,
        )
        self._check_clocks(after)
        if after.state in FINAL:
            self.ended[case.case_no] = after.state
            del self.cases[case.case_no], self.clocks[case.case_no]
        return True

    def _report(self) -> None:
        self.made += 1
        case_no = f"C{self.made}"
        self.cases[case_no] = Case(
            case_no=case_no,
            category="component",
            class_code=self.chance.choice(("0102", "")),
            address=self.chance.choice(("东大街", "")),
            description_zh="",
            description_en="",
            severity=Severity.RED,
            reported_at=self.now,
            handle_limit_s=14_400.0,
        )
        self.clocks[case_no] = turn(
            [], case_no, "reported", now=self.now, limit_of=LIMITS.get, calendar=CALENDAR
        )

    def _act(self, case: Case, action: str) -> tuple[Case, str]:  # noqa: C901, PLR0912 - a move each
        """Do what the actions of alerts do; return the case and the name in the log."""
        now = self.now
        match action:
            case "confirmed":
                after, step = confirm(case)
            case "accepted":
                after, step = move(case, action, accepted_at=now)
            case "filed":
                after, step = file(case, now)
            case "dispatched":
                after, step = dispatch(case, self.chance.choice(("SZ", "")), "owner", "seat", now)
            case "returned":
                after, step = move(case, action, handling_dept=None, dispatched_at=None)
            case "feedback_given":
                after, step = feed_back(case, "done", now)
            case "closed":
                after, step = close(case, "hub", now, "sensor")
            case "rework":
                after, step = rework(case, "hub", "", now, "sensor")
            case "recurred":
                after, step = recur(case, "cover_open", now)
            case "evaluated":
                after, step = evaluate(case, now)
            case "merged":
                after, step = merge(case, self.chance.choice(list(self.cases.values())))
                assert after.merged_into is not None
                self.merged[case.case_no] = after.merged_into
            case "suspended" | "resumed":
                if case.suspended == (action == "suspended") or case.state is CaseState.CLOSED:
                    raise ConflictError("no such track")
                return replace(case, suspended=action == "suspended"), action
            case _:
                after, step = move(case, action)
        return after, step.action

    def _tick(self, case: Case) -> None:
        after = []
        for clock in self.clocks[case.case_no]:
            due = clock.timer_at
            after.append(clock)
            if due is not None and due <= self.now:
                ticked = tick(clock, self.now, CALENDAR).clock
                assert ticked.timer_at is None or ticked.timer_at > self.now
                assert ticked.level >= clock.level
                after[-1] = ticked
        self.clocks[case.case_no] = after

    def _check(self, before: Case, after: Case) -> None:
        number = after.case_no
        if after.state is CaseState.FILED:
            assert after.class_code
            assert after.has_place
            self.filed.add(number)
        if after.state is CaseState.DISPATCHED:
            assert after.handling_dept
        if after.state is CaseState.CLOSED:
            assert before.state in {CaseState.VERIFYING, CaseState.CLOSED}
            assert after.verify_result == "passed"
            self.passed.add(number)
        if after.state is CaseState.EVALUATED:
            assert number in self.passed
            assert after.closed_at is not None
            assert after.evaluated_at is not None
            assert after.evaluated_at - after.closed_at >= WATCH
        if number in self.filed:
            assert after.state not in {CaseState.VOID, CaseState.REJECTED}
        if before.first_closed_at is not None:
            assert after.first_closed_at == before.first_closed_at
        assert after.rework_count >= before.rework_count
        assert after.recurrence_count >= before.recurrence_count

    def _check_clocks(self, case: Case) -> None:
        running = [clock.clock for clock in self.clocks[case.case_no] if clock.runs]
        assert len(running) == len(set(running))
        for clock in self.clocks[case.case_no]:
            assert clock.started_at < clock.yellow_at <= clock.due_at
            assert clock.stopped_at is None or clock.timer_at is None
        if case.state in FINAL | {CaseState.CLOSED}:
            assert not running

    def finish(self) -> None:
        """Follow what was filed and merged to where it survives: that is verified, or goes on."""
        for number in self.filed & self.ended.keys():
            last = number
            while self.ended.get(last) is CaseState.MERGED:
                last = self.merged[last]
                assert last in self.filed
            assert last in self.cases or self.ended[last] is CaseState.EVALUATED


ACTIONS = (*MOVES, "confirmed", "suspended", "resumed", "tick", "tick")


@pytest.mark.parametrize(
    "steps", [100_000, pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
def test_no_walk_reaches_a_forbidden_state_and_what_is_filed_ends_verified(steps: int) -> None:
    walk = Walk(random.Random(20_261_122))
    done = sum(walk.step() for _ in range(steps))
    walk.finish()
    ends = set(walk.ended.values())
    assert ends == FINAL, "the walk must reach each end"
    assert done > steps / 20
    assert len(walk.filed & walk.ended.keys()) > steps / 2000
