"""Whatever detectors, time and people do: an alarm never reaches a forbidden state."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerts.alarm import Ack, Alarm, Condition, Event, acknowledge, reset, undo_acknowledge, verify
from alerts.fold import fold
from alerts.passing import mature, settle
from alerts.track import Seen, Step, Track
from core.errors import ConflictError
from core.model import Edge, Severity, Text
from devices.kind import AlarmRule

NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
LEGAL = {
    ("", Condition.ACTIVE),
    ("", Condition.CLEARED),
    (Condition.ACTIVE, Condition.CLEARING),
    (Condition.ACTIVE, Condition.CLEARED),
    (Condition.CLEARING, Condition.ACTIVE),
    (Condition.CLEARING, Condition.CLEARED),
    (Condition.CLEARED, Condition.ACTIVE),
}
RULES = st.builds(
    AlarmRule,
    st.just("cover_shift"),
    st.just(Text("井盖位移", "Cover shifted")),
    st.sampled_from([Severity.BLUE, Severity.ORANGE]),
    on_delay_s=st.sampled_from([0.0, 60.0]),
    off_delay_s=st.sampled_from([0.0, 600.0]),
    quiet_clear_s=st.sampled_from([None, 900.0]),
    latched=st.booleans(),
    mature_on_silence=st.booleans(),
)


class AlarmMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.heard = NOON
        self.track = Track()
        self.history: list[Alarm] = []

    @initialize(alarm_rule=RULES)
    def begin(self, alarm_rule: AlarmRule) -> None:
        self.rule = alarm_rule

    @rule(
        edge=st.sampled_from(Edge),
        age=st.sampled_from([0, 30, 2000]),
        detector=st.sampled_from(["displacement", "events"]),
        severity=st.sampled_from(Severity),
        flags=st.sampled_from([(), ("unconfirmed",), ("clock_suspect",), ("retroactive",)]),
    )
    def find(
        self, edge: Edge, age: int, detector: str, severity: Severity, flags: tuple[str, ...]
    ) -> None:
        ts = self.now - timedelta(seconds=age)
        seen = Seen(
            edge=edge,
            kind="shift",
            detector=detector,
            measured=detector == "displacement",
            ts=ts,
            first_ts=ts,
            received_at=self.now,
            severity=severity,
            explain_zh="位移",
            explain_en="shifted",
            flags=flags,
        )
        self.heard = max(self.heard, ts)
        self.take(fold(self.track, seen, self.rule, self.now))

    @rule(seconds=st.sampled_from([1, 61, 601, 1801, 90_000]), awake=st.booleans())
    def wait(self, seconds: int, awake: bool) -> None:
        self.now += timedelta(seconds=seconds)
        if awake:
            self.heard = self.now
        self.take(mature(self.track, self.rule, self.now, self.heard))
        self.take(settle(self.track, self.rule, self.now, self.heard, self.heard))

    @rule(actor=st.sampled_from(["wang", "li"]))
    def acknowledge(self, actor: str) -> None:
        self.act(lambda alarm: acknowledge(alarm, actor, self.now))

    @rule(actor=st.sampled_from(["wang", "li"]))
    def undo(self, actor: str) -> None:
        self.act(lambda alarm: undo_acknowledge(alarm, actor, self.now))

    @rule()
    def reset(self) -> None:
        self.act(lambda alarm: reset(alarm, "wang", "why", self.now))

    @rule(trusted=st.booleans())
    def verify(self, trusted: bool) -> None:
        if self.track.alarm is not None:
            alarm, events = verify(self.track.alarm, "insp", self.now, trusted=trusted)
            self.take(Step(replace(self.track, alarm=alarm), tuple(events)))

    def act(self, change: Callable[[Alarm], tuple[Alarm, Event]]) -> None:
        if self.track.alarm is None:
            return
        try:
            alarm, event = change(self.track.alarm)
        except ConflictError:
            return
        self.take(Step(replace(self.track, alarm=alarm), (event,)))

    def take(self, step: Step) -> None:
        """Take a step over, as the engine does, and judge it against the one before."""
        before, after = self.track.alarm, step.track.alarm
        for event in step.events:
            if event.before in {"", *Condition} and event.after in set(Condition):
                assert (event.before, event.after) in LEGAL or event.before == event.after
        if after is not None and after.alarm_id == 0:
            assert before is None or not before.is_open, "a second open occurrence"
            assert after.occurrence_no == len(self.history) + 1
            if before is not None:
                assert after.previous_alarm_id == before.alarm_id
            after = replace(after, alarm_id=len(self.history) + 1)
            self.history.append(after)
        elif after is not None and before is not None:
            assert not before.is_final or after == before, "what is final changed"
            assert after.severity_peak >= before.severity_peak
            assert step.events or before.condition_state == after.condition_state
            self.history[-1] = after
        if before is not None and after is not None and before.alarm_id == after.alarm_id:
            sounded = any(event.loud for event in step.events if event.action == "reopened")
            assert sounded == (after.reopen_count > before.reopen_count)
        self.track = replace(step.track, alarm=after)

    @invariant()
    def at_most_one_is_open(self) -> None:
        assert sum(alarm.is_open for alarm in self.history) <= 1

    @invariant()
    def every_field_fits_the_state(self) -> None:
        for alarm in self.history:
            cleared = alarm.condition_state is Condition.CLEARED
            assert cleared == (alarm.cleared_at is not None) == (alarm.clear_reason is not None)
            clearing = alarm.condition_state is Condition.CLEARING
            assert clearing == (alarm.clearing_at is not None)
            assert (alarm.ack_state is Ack.ACKED) == (alarm.acked_by is not None)
            assert alarm.reset_at is None or alarm.latched
            assert not alarm.sources or alarm.condition_state is Condition.ACTIVE
            assert alarm.severity <= alarm.severity_peak
            assert alarm.started_at <= alarm.last_seen_at
            if alarm.retroactive:
                assert alarm.is_final
                assert alarm.notified_at is None

    @invariant()
    def an_open_condition_leaves_nothing_pending(self) -> None:
        alarm = self.track.alarm
        if alarm is not None and alarm.condition_state is not Condition.CLEARED:
            assert self.track.pending is None


TestAlarmMachine = AlarmMachine.TestCase
TestAlarmMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
