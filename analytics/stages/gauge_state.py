"""What the water-gauge stage remembers of each gauge: one packed row, about 1.4 kB.

Rings are circular, with the time of each entry beside it, so that nothing is moved. ``near`` holds
the last rows as they came, ``far`` rows at least most of a period apart, ``hour`` means of hours.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages import ongoing
from analytics.stages.state import Field, State

NEAR: Final = 5
"""Rows whose median a spike is off; the last three give the level."""
FAR: Final = 40
"""Rows most of a period apart: over three hours at five minutes."""
HOURS: Final = 50
LAGS: Final = 4
RISE, STUCK, DRIFT, WEAK = range(4)  # episodes
EPISODES: Final = 4
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class GaugeState(State):
    """Arrays of the stage, one row a gauge; times are microseconds.

    Attributes:
        rows_seen: Rows seen.
        last: Time of the last one. ``value``: what it said. ``usual``: usual step of time.
        run: Equal rows before the last one, in a row. ``same`` of ``steps``: how often two rows
            are equal, forgetting. ``longest``: equal rows, forgetting.
        noise: Standard deviation of a row, from second differences; ``learnt`` from so many.
        lately: The same over some eight rows; below 0: not known. ``still``: rows in which it is
            far under ``noise``.
        count: Rows in the rings since they began again.
        near_t: See the module; likewise the other rings.
        held: A row off the median waits to be judged by the next one; ``held_t``, ``held_x``.
        climbs: Usual rise over each lag, mean of what is above 0; ``climbed`` from so many rows.
        top: Highest level of the open rise, lowest since the last one. ``fastest``: the rise's
            fastest half hour early on.
        began: When it opened or was told anew. ``level_since``: since when it stands still, 0: it
            does not. ``lull``: it did so for a while. ``idle_since``: since when it rises no more.
        rose: When it last rose. ``fell``: when a sudden fall was last found.
        hour: Which hour is under way. ``hour_sum``, ``hour_rows``: of it.
        ramp: Hours in a row that look like a drift.
        day: Which day is under way. ``day_sum``, ``day_rows``: of its noise. ``days``: how many
            days ``day_usual`` was learnt from.
        open: Which episodes are open; ``since`` when.
        told: See :class:`analytics.stages.ongoing.Told`.
    """

    rows_seen: Ints
    last: Ints
    value: Floats
    usual: Floats
    run: Ints
    same: Floats
    steps: Floats
    longest: Floats
    noise: Floats
    learnt: Ints
    lately: Floats
    still: Ints
    count: Ints
    near_t: Ints
    near_x: Floats
    far_n: Ints
    far_t: Ints
    far_x: Floats
    held: Bools
    held_t: Ints
    held_x: Floats
    climbs: Floats
    climbed: Ints
    top: Floats
    fastest: Floats
    began: Ints
    level_since: Ints
    idle_since: Ints
    lull: Bools
    rose: Ints
    fell: Ints
    hour: Ints
    hour_sum: Floats
    hour_rows: Ints
    hour_t: Ints
    hour_x: Floats
    ramp: Ints
    day: Ints
    day_sum: Floats
    day_rows: Ints
    day_usual: Floats
    days: Ints
    open: Bools
    since: Ints
    told: Ints
    heard: Ints
    pace: Ints

    def __init__(self, usual: float) -> None:
        whole, real = Field(np.int64), Field(np.float64)
        super().__init__(
            {
                "rows_seen": whole,
                "last": whole,
                "value": real,
                "usual": Field(np.float64, fill=usual),
                "run": whole,
                "same": real,
                "steps": real,
                "longest": real,
                "noise": Field(np.float64, fill=0.005),
                "learnt": whole,
                "lately": Field(np.float64, fill=-1.0),
                "still": whole,
                "count": whole,
                "near_t": Field(np.int64, (NEAR,)),
                "near_x": Field(np.float64, (NEAR,)),
                "far_n": whole,
                "far_t": Field(np.int64, (FAR,)),
                "far_x": Field(np.float64, (FAR,)),
                "held": Field(np.bool_),
                "held_t": whole,
                "held_x": real,
                "climbs": Field(np.float64, (LAGS,), 0.004),
                "climbed": whole,
                "top": real,
                "fastest": real,
                "began": whole,
                "level_since": whole,
                "idle_since": whole,
                "lull": Field(np.bool_),
                "rose": whole,
                "fell": whole,
                "hour": whole,
                "hour_sum": real,
                "hour_rows": whole,
                "hour_t": Field(np.int64, (HOURS,), -1),
                "hour_x": Field(np.float64, (HOURS,)),
                "ramp": whole,
                "day": whole,
                "day_sum": real,
                "day_rows": whole,
                "day_usual": real,
                "days": whole,
                "open": Field(np.bool_, (EPISODES,)),
                "since": Field(np.int64, (EPISODES,)),
            }
            | ongoing.fields(EPISODES)
        )
