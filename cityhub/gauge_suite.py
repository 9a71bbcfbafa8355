"""The suite of water gauges: the given stream, or gauges drawn afresh.

Fresh gauges (:mod:`simulators.trials.gauges`) are noisier, coarser and lossier than the given ones,
half of them quiet. The detector was tuned with the seeds 1 to 20; what is reported is drawn from
2000 on.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from analytics.backtest.files import Readings, read
from analytics.backtest.kinds import episodes
from analytics.backtest.levels import Gauges, Labels, score_gauges
from cityhub.suites import Report, Say
from core.errors import ConfigError
from devices import KINDS
from simulators.trials.gauges import Trial, make_quiet, make_trials

FIRST_SEED: Final = 2000
_SECOND: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND
_FOUND, _FOUND_AIM = 0.99, 0.995
_FALSE_A_THOUSAND: Final = 1.0  # gauge-days


def run_gauges(say: Say, *, streams: Path | None, seeds: int) -> Report:
    """Judge gauges: the given stream, or sets of twenty-four drawn afresh.

    Raises:
        ConfigError: The streams are not there.
    """
    kind, scores = KINDS["water_gauge"], []
    for name, readings, labels in _given(streams) if streams else _fresh(seeds):
        scores.append(score_gauges(episodes(kind, readings), labels, _days(readings)))
        say(f"{name}: {scores[-1].share():.4f} found, {scores[-1].false} false")
    kinds = sorted({kind for score in scores for kind in score.events})
    total = Gauges(
        {kind: sum(score.events.get(kind, 0) for score in scores) for kind in kinds},
        {kind: sum(score.found.get(kind, 0) for score in scores) for kind in kinds},
        sum(score.false for score in scores),
        sum(score.days for score in scores),
    )
    delays = {kind: [d for score in scores for d in score.delays.get(kind, ())] for kind in kinds}
    false = 1000 * total.false / total.days
    least = total.share() >= (1.0 if streams else _FOUND) and false <= _FALSE_A_THOUSAND
    return {
        "suite": "gauges",
        "sets": len(scores),
        "gauge_days": round(total.days),
        "found": round(total.share(), 4),
        "found_worst_set": round(min(score.share() for score in scores), 4),
        "false_per_1000_gauge_days": round(false, 3),
        "sets_with_false": sum(score.false > 0 for score in scores),
        "kinds": [
            {
                "kind": kind,
                "events": total.events[kind],
                "found": total.found[kind],
                "delay_p50_min": round(float(np.median(delays[kind])), 1) if delays[kind] else None,
                "delay_p95_min": _quantile(delays[kind], 0.95),
            }
            for kind in kinds
        ],
        "least": least,
        "aim": least and total.share() >= _FOUND_AIM,
    }


def _quantile(values: list[float], share: float) -> float | None:
    return round(float(np.quantile(values, share)), 1) if values else None


def _given(streams: Path) -> Iterator[tuple[str, Readings, Labels]]:
    folder = streams / "synthetic"
    try:
        labels = json.loads((folder / "labels.json").read_text("utf-8"))["gauges.csv"]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{folder}: no labelled gauges here: {error}") from error
    yield "gauges.csv", read(KINDS["water_gauge"], [folder / "gauges.csv"]), labels


def _fresh(seeds: int) -> Iterator[tuple[str, Readings, Labels]]:
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        trials = [*make_trials(seed), *make_quiet(seed)]
        yield f"seed {seed}", _readings(trials), {trial.gauge: _labels(trial) for trial in trials}


def _labels(trial: Trial) -> list[dict[str, object]]:
    return [
        {"kind": each.kind, "start": each.start, "end": each.end, "decidable": each.decidable}
        for each in trial.events
    ]


def _readings(trials: list[Trial]) -> Readings:
    ts = np.concatenate([trial.ts for trial in trials]) * _SECOND
    order = np.argsort(ts, kind="stable")
    sizes = [len(trial.ts) for trial in trials]
    device_no = np.repeat(np.arange(1, len(trials) + 1, dtype=np.int32), sizes)
    level = np.concatenate([trial.level for trial in trials])
    names = [trial.gauge for trial in trials]
    return Readings(names, device_no[order], ts[order], {"level": level[order]})


def _days(readings: Readings) -> float:
    spans = [np.ptp(readings.ts[readings.device_no == no]) for no in np.unique(readings.device_no)]
    return float(sum(spans)) / _DAY_US
