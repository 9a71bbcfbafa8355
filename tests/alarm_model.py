"""A walk through all that can happen to one alarm, judged after every step.

The walk draws findings, what staff do, how time passes and where a turn is lost. Each turn works
on what was committed and is taken over only when it is: a crash forgets the turn, and what the
turn had read is read again. Beside the machine stands a ledger that knows only the log: replaying
the log must give the alarms, so no transition can go missing and none be said twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from alerts.alarm import (
    ACTIONS,
    HUB,
    Ack,
    Alarm,
    Condition,
    Event,
    Suppression,
    acknowledge,
    reset,
    retire,
    undo_acknowledge,
    verify,
)
from alerts.fold import fold
from alerts.passing import (
    Ladder,
    Rung,
    mark_data,
    mature,
    postpone,
    scheduled,
    settle,
    tick,
)
from alerts.suppression import (
    Role,
    Shade,
    check_shelf,
    cover,
    inhibit,
    release,
    unshelve,
)
from alerts.track import Seen, Step, Track
from core.errors import ConflictError
from core.model import Edge, Severity, Text
from devices.kind import AlarmRule

NOON: Final = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
LADDER: Final[Ladder] = {
    Severity.RED: (Rung(1, 120, "seat"), Rung(2, 300, "shift_leader"), Rung(3, 600, "director")),
    Severity.ORANGE: (Rung(1, 300, "seat"), Rung(2, 900, "shift_leader")),
}
CONDITIONS: Final = frozenset(Condition)
LEGAL: Final = {
    ("", Condition.ACTIVE),
    ("", Condition.CLEARED),
    (Condition.ACTIVE, Condition.CLEARING),
    (Condition.ACTIVE, Condition.CLEARED),
    (Condition.CLEARING, Condition.ACTIVE),
    (Condition.CLEARING, Condition.CLEARED),
    (Condition.CLEARED, Condition.ACTIVE),
    (Condition.CLEARED, Condition.CLEARED),
    (Condition.ACTIVE, Condition.ACTIVE),
}
RULES: Final = tuple(
    AlarmRule(
        "cover_shift",
        Text("井盖位移", "Cover shifted"),
        severity,
        on_delay_s=on,
        off_delay_s=off,
        quiet_clear_s=quiet,
        latched=latched,
        mature_on_silence=on > 0,
    )
    for severity in (Severity.BLUE, Severity.ORANGE)
    for on in (0.0, 60.0)
    for off in (0.0, 600.0)
    for quiet in (None, 900.0)
    for latched in (False, True)
)
_WAITS: Final = (0.5, 3, 20, 61, 130, 601, 1801, 90_000)
_FLAGS: Final = ((), (), (), ("unconfirmed",), ("clock_suspect",), ("retroactive",), ("ongoing",))


@dataclass(slots=True)
class World:
    """What is committed, for one rule on one device."""

    now: datetime = NOON
    heard: datetime = NOON
    track: Track = field(default_factory=Track)
    shelf: Shade | None = None
    window: Shade | None = None
    inbox: tuple[Seen, ...] = ()
    log: list[tuple[int, Event]] = field(default_factory=list)
    history: dict[int, Alarm] = field(default_factory=dict)
    read: int = 0
    found: int = 0

    @property
    def shade(self) -> Shade | None:
        """What stands over the rule: a window stands above a shelf."""
        return self.window or self.shelf


class Walk:
    """A seeded random walk.

    Args:
        seed: The same seed walks the same way.
    """

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.rule = RULES[seed % len(RULES)]
        self.world = World()
        self.trace: list[str] = []
        self.moves: Sequence[tuple[Callable[[], None], int]] = (
            (self.find, 30), (self.wait, 14), (self.work, 30), (self.crash, 6),
            (self.acknowledge, 4), (self.undo, 2), (self.reset, 3), (self.verify, 2),
            (self.shelve, 3), (self.unshelve, 2), (self.open_window, 2), (self.end_window, 3),
            (self.inhibit, 2), (self.uninhibit, 2), (self.fall_silent, 2), (self.restart, 1),
            (self.retire, 1),
        )  # fmt: skip
        self._acts = [act for act, _ in self.moves]
        self._weights = [weight for _, weight in self.moves]

    def run(self, steps: int) -> None:
        """Take so many steps, judging the world after each."""
        for act in self.chance.choices(self._acts, self._weights, k=steps):
            self.trace.append(act.__name__)
            before = self.world.track.alarm
            act()
            self.judge(before)
        self.work()
        assert self.world.read == self.world.found, "a finding was lost"
        self.judge_log()

    # What happens --------------------------------------------------------------------------------

    def find(self) -> None:
        """A detector finds something; the engine reads it later."""
        chance, world = self.chance, self.world
        age = chance.choice((0, 0, 0, 30, 2000))
        ts = world.now - timedelta(seconds=age)
        detector = chance.choice(("displacement", "events"))
        seen = Seen(
            edge=chance.choice((Edge.OPEN, Edge.UPDATE, Edge.CLEAR, Edge.CLEAR, Edge.ONCE)),
            kind="shift",
            detector=detector,
            measured=detector == "displacement",
            ts=ts,
            first_ts=ts - timedelta(seconds=chance.choice((0, 0, 90))),
            received_at=world.now,
            severity=chance.choice(tuple(Severity)),
            explain_zh="位移",
            explain_en="shifted",
            flags=chance.choice(_FLAGS),
            held_s=chance.choice((0.0, 0.0, 1900.0)) if age else 0.0,
        )
        world.inbox = (*world.inbox, seen)
        world.found += 1
        world.heard = max(world.heard, ts)

    def wait(self) -> None:
        """The clock goes on, and the device with it, or not."""
        self.world.now += timedelta(seconds=self.chance.choice(_WAITS))
        if self.chance.random() < 0.7:
            self.world.heard = self.world.now

    def work(self) -> None:
        """The engine takes a turn: all that is unread, then what time brings; and commits."""
        self.world = self._turn(len(self.world.inbox))
        self.world = self._pass_time()

    def crash(self) -> None:
        """A turn is lost at its end, having read as much as it had."""
        self._turn(self.chance.randint(0, len(self.world.inbox)))
        self._pass_time()

    def restart(self) -> None:
        """After an absence the ladder of what waits begins anew."""
        alarm = self.world.track.alarm
        if alarm is not None:
            self._commit(replace(self.world.track, alarm=postpone(alarm, self.world.now)), ())

    def acknowledge(self) -> None:
        """Somebody takes note."""
        actor = self._actor()
        self._act(lambda alarm: _one(acknowledge(alarm, actor, self.world.now)))

    def undo(self) -> None:
        """Somebody takes it back."""
        actor = self._actor()
        self._act(lambda alarm: _one(undo_acknowledge(alarm, actor, self.world.now)))

    def reset(self) -> None:
        """Somebody lets a latch go."""
        self._act(lambda alarm: _one(reset(alarm, "wang", "why", self.world.now)))

    def verify(self) -> None:
        """The alarm's case passes."""
        trusted = self.chance.random() < 0.5
        self._act(lambda alarm: verify(alarm, "insp", self.world.now, trusted=trusted))

    def shelve(self) -> None:
        """Somebody shelves it, within the limits of their role or beyond."""
        world, chance = self.world, self.chance
        role = chance.choice(tuple(Role))
        until = world.now + timedelta(minutes=chance.choice((5, 30, 31, 120, 121, 480, 481)))
        once = chance.random() < 0.3
        alarm = world.track.alarm
        if alarm is None:
            return
        try:
            check_shelf(alarm, role, until, world.now, reason="why", once=once)
        except ConflictError:
            return
        if alarm.severity is Severity.RED:
            assert role is not Role.OPERATOR
            assert until - world.now <= timedelta(minutes=30)
            assert not once
        world.shelf = Shade(
            state=Suppression.SHELVED, by="shelf", until=until, reason="why",
            upto=alarm.severity, once=once,
        )  # fmt: skip
        self._act(lambda alarm: cover(alarm, world.shelf, world.now))

    def unshelve(self) -> None:
        """Somebody takes it off."""
        self._act(lambda alarm: unshelve(alarm, self.world.now))

    def open_window(self) -> None:
        """A maintenance window begins; the engine covers what is open."""
        self.world.window = Shade(state=Suppression.OUT_OF_SERVICE, by="window:1", reason="why")

    def end_window(self) -> None:
        """It ends."""
        self.world.window = None

    def inhibit(self) -> None:
        """The cause tree suppresses it."""
        self._act(
            lambda alarm: inhibit(alarm, "incident:1", "why") if alarm.is_open else (alarm, [])
        )

    def uninhibit(self) -> None:
        """And lets it go."""
        alarm = self.world.track.alarm
        if alarm is not None and alarm.suppression is Suppression.SUPPRESSED and alarm.is_open:
            self._act(lambda alarm: release(alarm, self.world.now))

    def fall_silent(self) -> None:
        """The device falls silent, or is heard again."""
        silent = self.chance.random() < 0.5

        def mark(alarm: Alarm) -> tuple[Alarm, list[Event]]:
            if alarm.condition_state is Condition.CLEARED:
                return alarm, []
            return mark_data(alarm, silent=silent)

        self._act(mark)

    def retire(self) -> None:
        """The rule is switched off for a moment."""
        alarm = self.world.track.alarm
        if alarm is not None and alarm.is_open:
            self._act(lambda alarm: retire(alarm, self.world.now, "rule_retired"))

    # How it is taken over ------------------------------------------------------------------------

    def _turn(self, count: int) -> World:
        world = self._copy()
        for seen in world.inbox[:count]:
            if seen.edge is Edge.CLEAR:
                early = mature(world.track, self.rule, world.now, seen.ts, shade=world.shade)
                self._take(world, early)
            self._take(world, settle(world.track, self.rule, world.now, seen.ts, seen.received_at))
            self._take(world, fold(world.track, seen, self.rule, world.now, shade=world.shade))
            world.read += 1
        world.inbox = world.inbox[count:]
        return world

    def _pass_time(self) -> World:
        world = self._copy()
        if world.shelf is not None and world.shelf.until is not None:
            world.shelf = None if world.shelf.until <= world.now else world.shelf
        alarm = world.track.alarm
        if alarm is not None:
            self._take(world, _step(world.track, *cover(alarm, world.shade, world.now)))
        self._take(world, mature(world.track, self.rule, world.now, world.heard, shade=world.shade))
        self._take(world, settle(world.track, self.rule, world.now, world.heard, world.heard))
        alarm = world.track.alarm
        if alarm is not None and alarm.timer_at is not None and alarm.timer_at <= world.now:
            self._take(world, _step(world.track, *tick(alarm, LADDER, world.now)))
        return world

    def _act(self, change: Callable[[Alarm], tuple[Alarm, Sequence[Event]]]) -> None:
        if self.world.track.alarm is None:
            return
        try:
            alarm, events = change(self.world.track.alarm)
        except ConflictError:
            return
        self._commit(replace(self.world.track, alarm=alarm), tuple(events))

    def _commit(self, track: Track, events: tuple[Event, ...]) -> None:
        self._take(self.world, Step(track, events))

    def _copy(self) -> World:
        return replace(self.world, log=list(self.world.log), history=dict(self.world.history))

    def _actor(self) -> str:
        return self.chance.choice(("wang", "li"))

    def _take(self, world: World, step: Step) -> None:
        """Take a step over, as the engine does, and judge it against the one before."""
        before, track = world.track.alarm, scheduled(step.track, self.rule, LADDER)
        after = track.alarm
        if after is not None and after.alarm_id == 0:
            assert before is None or not before.is_open, "a second open occurrence"
            assert after.occurrence_no == len(world.history) + 1
            assert after.previous_alarm_id == (before.alarm_id if before else None)
            after = replace(after, alarm_id=len(world.history) + 1)
            track = replace(track, alarm=after)
        elif after is not None and before is not None:
            assert not before.is_final or after == before, "what is final changed"
            assert after.severity_peak >= before.severity_peak
            _judge_spoken(before, after, step.events)
        for event in step.events:
            assert event.action in ACTIONS
            if event.before in {"", *CONDITIONS} and event.after in CONDITIONS:
                assert (event.before, event.after) in LEGAL, event
            assert after is not None
            world.log.append((after.alarm_id, event))
            if event.action == "unshelved":
                world.shelf = None
            if event.loud and event.action not in {"severity_raised", "cleared", "escalated"}:
                assert after.suppression is Suppression.NONE, "a quiet alarm sounded"
        world.track = track
        if after is not None:
            world.history[after.alarm_id] = after

    # What must hold ------------------------------------------------------------------------------

    def judge(self, before: Alarm | None) -> None:
        """Judge the occurrences that a step may have touched."""
        history, track = self.world.history, self.world.track
        ids = {alarm.alarm_id for alarm in (before, track.alarm) if alarm}
        for number in ids & history.keys():
            _judge_fields(history[number])
        alarm = track.alarm
        if alarm is not None:
            assert alarm.alarm_id == len(history)
            if alarm.condition_state is not Condition.CLEARED:
                assert track.pending is None, "pending beside an open alarm"
            due = scheduled(track, self.rule, LADDER).alarm
            assert due == alarm, "a timer is lost"
        others = len(history) - 1
        assert others < 1 or not history[others].is_open, "two open occurrences"

    def judge_log(self) -> None:
        """Replay the log: it must give the alarms, each raised once, each change said once."""
        states: dict[int, dict[str, str]] = {}
        for number, event in self.world.log:
            if event.action in {"raised", "recorded"}:
                assert number not in states, "raised twice"
                states[number] = {"condition": event.after, "quiet": "none", "ack": "unacked"}
                if event.action == "recorded":
                    states[number]["ack"] = "acked"
                continue
            state = states[number]
            axis = _AXES.get(event.action)
            if axis is not None:
                assert event.before in (state[axis], "latched"), (number, event, state)
                state[axis] = event.after
        for number, alarm in self.world.history.items():
            assert states[number]["condition"] == alarm.condition_state, (number, alarm)


_AXES: Final = {
    "reopened": "condition", "clearing": "condition", "resumed": "condition",
    "cleared": "condition", "retired": "condition",
}  # fmt: skip


def _judge_spoken(before: Alarm, after: Alarm, events: Sequence[Event]) -> None:
    """Whatever changed on an axis was said, and by the event of that name."""
    said = {event.action for event in events}
    if before.condition_state is not after.condition_state:
        assert said & {"clearing", "resumed", "cleared", "reopened", "retired"}
    if before.severity is not after.severity:
        assert said & {"severity_raised", "severity_lowered", "reopened"}
    if before.suppression is not after.suppression:
        quiet = {"shelved", "unshelved", "suppressed", "unsuppressed", "out_of_service",
                 "in_service", "reopened"}  # fmt: skip
        assert said & quiet, (before.suppression, after.suppression, said)
    if before.ack_state is Ack.UNACKED and after.ack_state is Ack.ACKED:
        assert said & {"acknowledged", "reset", "retired"}
    if before.escalation_level < after.escalation_level:
        assert "escalated" in said
    if after.flapping and not before.flapping:
        assert "flapping" in said
    reopened = after.reopen_count > before.reopen_count
    assert reopened == ("reopened" in said)


def _judge_fields(alarm: Alarm) -> None:
    """Every field fits the state."""
    cleared = alarm.condition_state is Condition.CLEARED
    assert cleared == (alarm.cleared_at is not None) == (alarm.clear_reason is not None)
    assert (alarm.condition_state is Condition.CLEARING) == (alarm.clearing_at is not None)
    assert (alarm.ack_state is Ack.ACKED) == (alarm.acked_by is not None)
    assert alarm.reset_at is None or alarm.latched
    assert not alarm.sources or alarm.condition_state is Condition.ACTIVE
    assert alarm.severity <= alarm.severity_peak
    assert alarm.started_at <= alarm.last_seen_at
    assert (alarm.next_severity is None) == (alarm.next_since is None)
    assert alarm.next_severity is None or alarm.condition_state is Condition.ACTIVE
    assert not (cleared and alarm.flapping), "over, and still flapping"
    quiet = alarm.suppression is not Suppression.NONE
    assert quiet == (alarm.suppressed_by is not None) == (alarm.suppress_upto is not None)
    if alarm.suppression is Suppression.SUPPRESSED and alarm.is_open:
        assert alarm.severity is not Severity.RED, "the cause tree hides a red"
    if quiet and alarm.is_open and alarm.suppress_upto is not None:
        assert alarm.severity <= alarm.suppress_upto, "grew too grave for its shade"
    if alarm.timer_at is not None and alarm.stale:
        assert alarm.ack_state is Ack.UNACKED
    if alarm.retroactive:
        assert alarm.is_final
        assert alarm.notified_at is None
        assert alarm.acked_by == HUB
    if alarm.is_final:
        assert alarm.due_ts is None
        assert alarm.timer_at is None


def walks(steps: int, *, seeds: int) -> Iterator[Walk]:
    """Yield walks of so many steps together, each under another rule."""
    for seed in range(seeds):
        walk = Walk(seed)
        walk.run(steps // seeds)
        yield walk


def _one(result: tuple[Alarm, Event]) -> tuple[Alarm, list[Event]]:
    return result[0], [result[1]]


def _step(track: Track, alarm: Alarm, events: Sequence[Event]) -> Step:
    return Step(replace(track, alarm=alarm), tuple(events))
