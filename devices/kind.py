"""What a device kind is: what it measures, signals and obeys, and what to watch for.

A kind is data, not a subclass. Table columns, decoder, range checks, detectors, alarm rules, API
schema, page labels and the resting simulator are all made from this one description, so a further
kind is one module and its two lines in :mod:`devices`.
"""

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, Protocol

from core.model import Audience, Severity, Text
from core.tables import Column, ReadingTable


@dataclass(frozen=True, slots=True)
class Metric:
    """One quantity that a device measures.

    Attributes:
        name: Its name everywhere: wire key, table column, API (``[a-z][a-z0-9_]{0,30}``).
        unit: Its unit, a UCUM code such as ``"deg"`` or ``"m[g]"``; ``"1"`` for states 0 and 1.
        label: What the command centre calls it.
        low: The least value the sensor can give. Beyond low or high the value is stored with a
            quality bit and never fed to a detector.
        high: The greatest value the sensor can give.
        rest: The value of a healthy device that nothing happens to.
        noise: The standard deviation around ``rest``, in the same unit.
        f8: Stored in double precision: coordinates and counters only.
        grows: A counter: a resting device adds ``rest`` an interval instead of staying there.
        decimals: Digits after the point on the wire and on the screen.
    """

    name: str
    unit: str
    label: Text
    _: KW_ONLY
    low: float
    high: float
    rest: float
    noise: float = 0.0
    f8: bool = False
    grows: bool = False
    decimals: int = 2


@dataclass(frozen=True, slots=True)
class Event:
    """A signal that a device raises by itself (设备事件).

    Attributes:
        name: Its wire name.
        label: What the command centre calls it.
        rule_id: The alarm rule it feeds; None: shown in the device's history only.
        severity: How grave it is by default.
        clears: The alarm rule whose episode it ends, such as a cover that reports itself closed.
    """

    name: str
    label: Text
    _: KW_ONLY
    rule_id: str | None = None
    severity: Severity = Severity.BLUE
    clears: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """What a device can be told.

    Attributes:
        name: Its wire name.
        label: What the command centre calls it.
        arguments: Name and UCUM unit of each argument.
    """

    name: str
    label: Text
    arguments: tuple[tuple[str, str], ...] = ()


def editable(
    about: Text, *, low: float, high: float, unit: str = "", rule: str = "", **more: Any
) -> Any:
    """Return a field of a watch that a city may change (:mod:`devices.rule_fields`).

    Only numbers that the watch's stage reads live may be marked so.

    Args:
        about: What it is.
        low: The least it may be.
        high: The greatest.
        unit: UCUM code.
        rule: Name of the attribute with the rule that it belongs to; empty: the watch's first.
        **more: For :func:`dataclasses.field`, such as ``default``.
    """
    return field(
        metadata={"about": about, "low": low, "high": high, "unit": unit, "rule": rule}, **more
    )


class Watch(Protocol):
    """What a kind is watched for: data, from which :mod:`analytics.stages` makes a detector."""

    @property
    def watched(self) -> tuple[str, ...]:
        """Names of the metrics it looks at."""

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """The alarm rules it feeds."""

    @property
    def about(self) -> str:
        """What it looks for, in a few English words for the reference."""

    @property
    def source(self) -> str:
        """Where its numbers come from; ``"ours"`` if from nowhere else."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Watch a metric for staying at or past a limit.

    Attributes:
        metric: The metric's name.
        rule_id: The alarm rule it feeds.
        blue: From here on blue; None: no such step. The same for the others. A device's own
            ``limits`` in the registry replace them.
        below: Watch for staying at or under the limits instead.
        hold: How many consecutive breaching rows open an episode.
        hold_s: How long, in seconds of event time, the breach must last besides.
        clear_margin: How far inside the limit a value must be to clear, in the metric's unit.
        clear_hold: How many consecutive such rows clear it.
        when: Judge only rows in which this metric is at least 0.5, such as ``"on"``.
        unless: Judge only rows in which this metric is below 0.5.
        per_device: It has no steps for all: only devices with ``limits`` of their own are judged,
            such as river stations, whose datum differs from place to place.
        source: Where the numbers come from; ``"ours"`` if from nowhere else.
    """

    metric: str
    rule_id: str
    _: KW_ONLY
    blue: float | None = None
    yellow: float | None = None
    orange: float | None = None
    red: float | None = None
    below: bool = False
    hold: int = 1
    hold_s: float = 0.0
    clear_margin: float = 0.0
    clear_hold: int = 1
    when: str = ""
    unless: str = ""
    per_device: bool = False
    source: str = "ours"

    def __post_init__(self) -> None:
        if self.per_device == bool(self.steps):
            raise ValueError(f"the limit on {self.metric} has steps, or is per device: not both")

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`Watch`."""
        return tuple(filter(None, (self.metric, self.when, self.unless)))

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`Watch`."""
        return (self.rule_id,)

    @property
    def about(self) -> str:
        """See :class:`Watch`."""
        return f"`{self.metric}` at a limit"

    @property
    def steps(self) -> tuple[tuple[Severity, float], ...]:
        """The steps that there are, gravest first."""
        steps = (
            (Severity.RED, self.red),
            (Severity.ORANGE, self.orange),
            (Severity.YELLOW, self.yellow),
            (Severity.BLUE, self.blue),
        )
        return tuple((severity, limit) for severity, limit in steps if limit is not None)

    def judge(self, value: float) -> Severity | None:
        """Return the gravest step that the value has reached.

        >>> Limit("level", "level_ladder", orange=3.0, red=4.0).judge(3.5)
        <Severity.ORANGE: 3>
        """
        for severity, limit in self.steps:
            if value <= limit if self.below else value >= limit:
                return severity
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Displacement:
    """Watch the attitude of a thing that should lie still, by gravity and by its own tilt.

    Attributes:
        acceleration: Names of the three acceleration metrics, in ``m[g]``.
        temperature: Name of the temperature metric.
        tilt: Name of the device's own tilt, in ``deg``; it needs no learnt reference.
        wakes: The device wakes and reports when it is moved, so one quiet row opens at once,
            marked ``unconfirmed``.
        open_deg: From this angle on it is open or gone, in degrees.
        open_rule: Alarm rule of an opening. The same for a shift and for slow settling.
        shift_rule: See ``open_rule``.
        settle_rule: See ``open_rule``.
        rock_rule: Alarm rule of rocking under traffic; empty: not watched for.
        source: Where the numbers come from.
    """

    acceleration: tuple[str, str, str]
    temperature: str
    tilt: str
    wakes: bool
    open_deg: float = editable(
        Text("装置自报倾角达到此值即为开启", "the device's own tilt from which it is open"),
        low=10,
        high=180,
        unit="deg",
        rule="open_rule",
    )
    open_rule: str
    shift_rule: str
    settle_rule: str
    rock_rule: str = ""
    source: str = "ours"

    @property
    def watched(self) -> tuple[str, ...]:
        """See :class:`Watch`."""
        return (*self.acceleration, self.tilt)

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """See :class:`Watch`."""
        rules = (self.open_rule, self.shift_rule, self.settle_rule, self.rock_rule)
        return tuple(filter(None, rules))

    @property
    def about(self) -> str:
        """See :class:`Watch`."""
        axes = ", ".join(f"`{name}`" for name in self.acceleration)
        return f"displacement by {axes} and `{self.tilt}`, open from {self.open_deg:g}° on"


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """What a finding means in this city (告警规则), by default.

    Attributes:
        rule_id: Its name; findings carry it.
        label: What the command centre calls it.
        severity: The rank where the finding names none graver.
        audience: Whom it concerns.
        on_delay_s: Event time a condition must last before it becomes an alarm, in seconds.
        off_delay_s: Event time it must be over before the alarm clears, in seconds.
        quiet_clear_s: For rules fed by single events: the alarm clears after so long without one.
        reopen_window_s: A breach so soon after clearing reopens an unacknowledged alarm.
        latched: The alarm stays until it is reset, although the value is normal again.
        mature_on_silence: A pending alarm of a device that falls silent becomes an alarm.
        allowed_lateness_s: An older reading writes history and never sounds.
        class_code: Class and sub-class of the case, 4 digits; empty: no city case.
        category: ``component`` or ``event``.
        verify: What must agree before its case closes.
        handle_hours: Limit of handling, hours on the clock (紧急工作时).
        on_site_minutes: Limit of being on site.
        seen_when: A metric that is above 0 while its sensor can show the condition, such as ``on``
            of a lamp; empty: always.
        enabled: Its findings make alarms; one that is not keeps finding, for history alone.
        source: Where the numbers come from.
    """

    rule_id: str
    label: Text
    severity: Severity
    _: KW_ONLY
    enabled: bool = True
    audience: Audience = Audience.CITY
    on_delay_s: float = 0.0
    off_delay_s: float = 600.0
    quiet_clear_s: float | None = None
    reopen_window_s: float = 600.0
    latched: bool = False
    mature_on_silence: bool = False
    allowed_lateness_s: float = 900.0
    class_code: str = ""
    category: Literal["component", "event"] = "component"
    verify: Literal["sensor_and_human", "sensor_or_human", "sensor", "human"] = "sensor_or_human"
    handle_hours: float = 24.0
    on_site_minutes: float | None = None
    seen_when: str = ""
    source: str = "ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKind:
    """All there is to know about one kind of device.

    Attributes:
        name: Its name in tables, API and code.
        label: What the command centre calls it.
        id_prefix: How ids of this kind start, such as ``"MH"``: the simulator names its devices so,
            and the registration policy ``open`` knows an unknown device by it.
        class_code: Class and sub-class of its component, 4 digits; empty: it is no component.
        interval_s: How often it reports at rest, in seconds.
        idle_interval_s: How often it reports with nothing to do, such as a parked vehicle; None: as
            ``interval_s``. Silence is judged by the longer of the two.
        sleeps: A healthy one may be silent for hours, such as a badge off shift: never called lost.
        wakes: It rests between its reports and wakes on what happens, so that one reading says as
            much as a row of them.
        metrics: What it measures.
        events: What it signals.
        commands: What it obeys.
        watches: What to watch for.
        rules: What its findings mean.
        moves: It has no fixed place; its ``lon`` and ``lat`` metrics say where it is.
    """

    name: str
    label: Text
    id_prefix: str
    class_code: str
    interval_s: float
    idle_interval_s: float | None = None
    sleeps: bool = False
    wakes: bool = False
    metrics: tuple[Metric, ...]
    events: tuple[Event, ...] = ()
    commands: tuple[Command, ...] = ()
    watches: tuple[Watch, ...] = ()
    rules: tuple[AlarmRule, ...] = ()
    moves: bool = False

    @property
    def reals(self) -> tuple[Metric, ...]:
        """The metrics in single precision: the rows of ``Batch.values``, in this order."""
        return tuple(metric for metric in self.metrics if not metric.f8)

    @property
    def exacts(self) -> tuple[Metric, ...]:
        """The metrics in double precision: the rows of ``Batch.exact``, in this order."""
        return tuple(metric for metric in self.metrics if metric.f8)

    @property
    def table(self) -> ReadingTable:
        """The wide table of its readings."""
        return ReadingTable(
            self.name,
            tuple(
                Column(metric.name, exact=metric.f8, low=metric.low, high=metric.high)
                for metric in self.reals + self.exacts
            ),
        )

    def metric(self, name: str) -> Metric:
        """Return a metric by name.

        Raises:
            KeyError: There is none.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)
