"""``cityhub backtest --from``: what rules make of stored readings, as they are and if changed.

Every change of a rule in service starts with this: how many alarms a day and a shift, which appear,
which vanish.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from analytics.backtest.history import Outcome, Span
    from analytics.backtest.labels import Label
    from analytics.backtest.spells import Spell
    from core.settings import Settings
    from devices.registry import Registry
    from devices.rulebook import Override, Rulebook

EXAMPLES: Final = """
  cityhub backtest --kind water_gauge --from 2026-07-01 --to 2026-08-01
  cityhub backtest --kind manhole_cover --from 2026-07-01 --to 2026-07-08 --rules rules.json
  cityhub backtest --kind manhole_cover --from 2026-07-01 --to 2026-07-08 --labels labels.csv

rules.json: [{"rule_id": "cover_flooded", "scope": "kind", "body": {"orange": 0.4, "hold": 3}}]
labels.csv: device,start,end,rule (rule may be empty), or a simulator's truth file (.jsonl)"""

_SHIFT_H: Final = 8
_SHOWN: Final = 40


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options for stored readings."""
    history = command.add_argument_group("stored readings")
    history.add_argument(
        "--from", dest="start", metavar="TIME", help="ISO 8601; a day begins in the city's zone"
    )
    history.add_argument("--to", dest="end", metavar="TIME", help="before this time")
    history.add_argument(
        "--rules", type=Path, metavar="FILE", help="changes of rules to try, as JSON"
    )
    history.add_argument(
        "--labels", type=Path, metavar="FILE", help="what really happened: precision, recall, delay"
    )
    history.add_argument(
        "--warm",
        type=float,
        default=0.0,
        metavar="DAYS",
        help="days before from which detectors learn, and of which nothing is told (0)",
    )
    history.add_argument(
        "--slack",
        type=float,
        default=3600.0,
        metavar="S",
        help="seconds after a label's end in which a finding still belongs to it (3600)",
    )
    history.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="JSON for programs: print, or to a file",
    )


def run(settings: "Settings", arguments: argparse.Namespace) -> int:
    """Run the back-test over stored readings, and print it."""
    from zoneinfo import ZoneInfo

    from analytics.backtest.history import run_history
    from cityhub.access import connect
    from core.errors import ConfigError
    from devices.registry import Registry

    zone = ZoneInfo(settings.city.time_zone)
    try:
        span = _span(arguments, zone)
        changes = _changes(arguments.rules, span) if arguments.rules else None
        labels = _labels(arguments.labels) if arguments.labels else None
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error
    registry = Registry()
    with connect(settings) as conn:
        registry.load(conn)
        sets = [registry.rules]
        if changes is not None:
            sets.append(_changed(registry, changes))
        outcomes = run_history(conn, span, registry, sets)
    told = _report(span, outcomes, registry, zone)
    if labels is not None:
        told["labels"] = [_marks(each, registry, labels, arguments.slack) for each in outcomes]
    print(json.dumps(told, ensure_ascii=False) if arguments.json else _table(told))
    return 0


def _span(arguments: argparse.Namespace, zone: "ZoneInfo") -> "Span":
    from analytics.backtest.history import Span
    from devices import KINDS

    if arguments.kind not in KINDS:
        raise ValueError(f"there is no kind {arguments.kind!r}; there are {', '.join(KINDS)}")
    if arguments.end is None:
        raise ValueError("--from needs --to")
    start, end = (datetime.fromisoformat(text) for text in (arguments.start, arguments.end))
    start, end = (at if at.tzinfo else at.replace(tzinfo=zone) for at in (start, end))
    if start >= end:
        raise ValueError("--from must lie before --to")
    return Span(KINDS[arguments.kind], start, end, arguments.warm)


def _changes(path: Path, span: "Span") -> list["Override"]:
    """Return the changes of a file.

    Raises:
        ValueError: It cannot be read, or a field cannot be so.
    """
    from devices.rulebook import Override, doubt_rule

    listed = json.loads(path.read_text("utf-8"))
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise ValueError(f"{path}: it must be a list of objects; see --help")
    found = []
    for number, each in enumerate(listed, 1):
        if unknown := each.keys() - {"kind", "rule_id", "scope", "body"}:
            raise ValueError(f"{path}, change {number}: there is no {min(unknown)!r}")
        kind, rule_id = each.get("kind", span.kind.name), str(each.get("rule_id"))
        if doubt := doubt_rule(kind, rule_id, each.get("body")):
            raise ValueError(f"{path}, change {number}: {doubt.en}")
        found.append(Override(kind, rule_id, str(each.get("scope", "kind")), 0, each["body"]))
    return found


def _changed(registry: "Registry", changes: Sequence["Override"]) -> "Rulebook":
    """Return the rules as they are, with what a file says in place of what its scopes said."""
    from dataclasses import replace

    rules = registry.rules
    return rules.with_changes(
        [replace(each, version=rules.newest(each.kind, each.rule_id) + 1) for each in changes]
    )


def _labels(path: Path) -> list["Label"]:
    from analytics.backtest.labels import Label, read_labels
    from simulators.truth import read_truth

    if path.suffix != ".jsonl":
        return read_labels(path)
    return [
        Label(
            device,
            datetime.fromisoformat(cause["start"]),
            datetime.fromisoformat(cause["end"]),
            must["rule"],
        )
        for cause in read_truth(path).values()
        for must in cause["must"]
        if must.get("on", "device") == "device"
        for device in cause["devices"]
    ]


def _marks(
    outcome: "Outcome", registry: "Registry", labels: Sequence["Label"], slack_s: float
) -> dict[str, Any]:
    from analytics.backtest.labels import mark

    named = ((registry.by_no[spell.device_no].device_id, spell) for spell in outcome.spells)
    marks = mark(named, labels, slack=timedelta(seconds=slack_s))
    return {
        "labels": marks.labels,
        "found": marks.found,
        "raised": marks.spells,
        "right": marks.right,
        **marks.figures(),
    }


def _report(
    span: "Span", outcomes: Sequence["Outcome"], registry: "Registry", zone: "ZoneInfo"
) -> dict[str, Any]:
    from analytics.backtest.spells import missing

    days = (span.end - span.start).total_seconds() / 86_400
    devices = sum(device.kind == span.kind.name for device in registry.by_no.values())
    names = ("now", "changed")[: len(outcomes)]
    counts = [Counter(_shift(spell, zone) for spell in each.spells) for each in outcomes]
    told: dict[str, Any] = {
        "kind": span.kind.name,
        "from": span.start.isoformat(),
        "to": span.end.isoformat(),
        "devices": devices,
        "days": days,
        "totals": {
            name: {
                "raised": len(each.spells),
                "not_raised": len(each.quiet),
                "findings": each.findings,
                "per_day": len(each.spells) / days,
                "per_100_device_days": 100 * len(each.spells) / (days * devices or 1),
                "by_rule": dict(Counter(spell.rule_id for spell in each.spells)),
            }
            for name, each in zip(names, outcomes, strict=True)
        },
        "shifts": [
            {
                "day": day,
                "shift": f"{first:02}-{first + _SHIFT_H:02}",
                **{name: count[day, first] for name, count in zip(names, counts, strict=True)},
            }
            for day, first in _shifts(span, zone)
        ],
    }
    if len(outcomes) > 1:
        now, changed = (each.spells for each in outcomes)
        told["appear"] = [_line(each, registry, zone) for each in missing(changed, now)]
        told["vanish"] = [_line(each, registry, zone) for each in missing(now, changed)]
    return told


def _shift(spell: "Spell", zone: "ZoneInfo") -> tuple[str, int]:
    from core.model import from_micros

    at = from_micros(spell.opened).astimezone(zone)
    return at.date().isoformat(), at.hour // _SHIFT_H * _SHIFT_H


def _shifts(span: "Span", zone: "ZoneInfo") -> list[tuple[str, int]]:
    day = span.start.astimezone(zone).date()
    last = (span.end - timedelta(microseconds=1)).astimezone(zone).date()
    found = []
    while day <= last:
        found += [(day.isoformat(), first) for first in range(0, 24, _SHIFT_H)]
        day += timedelta(days=1)
    return found


def _line(spell: "Spell", registry: "Registry", zone: "ZoneInfo") -> dict[str, Any]:
    from core.model import from_micros

    return {
        "device": registry.by_no[spell.device_no].device_id,
        "rule": spell.rule_id,
        "version": spell.version,
        "detector": spell.detector,
        "severity": spell.severity.text.en,
        "from": from_micros(spell.first).astimezone(zone).isoformat(),
        "opened": from_micros(spell.opened).astimezone(zone).isoformat(),
        "to": from_micros(spell.closed).astimezone(zone).isoformat(),
        "explain": {"zh": spell.explain.zh, "en": spell.explain.en},
    }


def _table(told: Mapping[str, Any]) -> str:
    names = list(told["totals"])
    lines = [
        f"{told['kind']}: {told['devices']} devices, {told['from']} to {told['to']}",
        "",
        f"{'day':<12}" + "".join(f"{name + ' ' + s:>15}" for name in names for s in _HOURS),
    ]
    days: dict[str, dict[str, int]] = {}
    for shift in told["shifts"]:
        cells = days.setdefault(shift["day"], {})
        cells |= {f"{name} {shift['shift']}": shift[name] for name in names}
    lines += [
        f"{day:<12}" + "".join(f"{cells[f'{name} {s}']:>15}" for name in names for s in _HOURS)
        for day, cells in days.items()
    ]
    lines.append("")
    for name, total in told["totals"].items():
        by_rule = ", ".join(f"{rule} {n}" for rule, n in sorted(total["by_rule"].items()))
        lines.append(
            f"{name}: {total['raised']} raised ({total['per_day']:.2f} a day,"
            f" {total['per_100_device_days']:.2f} per 100 device-days), {total['not_raised']} too"
            f" short or disabled, {total['findings']} findings; {by_rule or 'nothing'}"
        )
    for sign, word in (("+", "appear"), ("-", "vanish")):
        listed = told.get(word, ())
        if word in told:
            lines.append(f"{word}: {len(listed)}")
        lines += [
            f"  {sign} {each['opened']} {each['device']} {each['rule']}: {each['explain']['zh']}"
            for each in listed[:_SHOWN]
        ]
        if len(listed) > _SHOWN:
            lines.append(f"  … {len(listed) - _SHOWN} more; --json tells all")
    for name, marks in zip(names, told.get("labels", ()), strict=False):
        shown = ", ".join(
            f"{key} {'-' if value is None else format(value, '.3g')}"
            for key, value in marks.items()
        )
        lines.append(f"labels, {name}: {shown}")
    return "\n".join(lines)


_HOURS: Final = tuple(f"{first:02}-{first + _SHIFT_H:02}" for first in range(0, 24, _SHIFT_H))
