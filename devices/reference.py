"""The reference of kinds and of import files, made from the descriptions themselves.

``scripts/docs`` writes both pages; tests fail when they are out of date, so what a device may send
cannot change unnoticed.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Final

from devices import KINDS
from devices.intake.sheet import Sheet, template
from devices.intake.sheets import sheets
from devices.kind import AlarmRule, DeviceKind, Limit, Metric, Watch
from devices.rules import VIRTUAL_RULES

_KINDS_HEAD: Final = """\
# Device kinds

Made from `devices/` by `scripts/docs`; edit there.

Wire key, table column and API name of a metric are the same. Units are UCUM codes; `1` is a plain
figure or a state of 0 and 1. *Rest* is what a healthy device shows to which nothing happens, ± the
standard deviation; a counter adds that much an interval. Thresholds are defaults: a device's own
`limits` replace them. Severities: red 红, orange 橙, yellow 黄, blue 蓝.
"""

_IMPORTS_HEAD: Final = """\
# Files of city data

Made from `devices/intake/` by `scripts/docs`; edit there.

`cityhub import WHAT FILE` takes CSV (UTF-8 with or without a byte-order mark, or GB18030; comma,
semicolon or tab) and, where the table says so, GeoJSON in WGS-84 degrees. The header names columns
in English or Chinese, in any order; a column that the file lacks is left as it is in the database.
A file is imported whole or, with any problem, not at all; `--dry-run` lists every problem with its
line. Importing a file again changes nothing. Import in the order of this page.
"""


def describe_kinds() -> str:
    """Return the reference page of all kinds, Markdown."""
    parts = [_KINDS_HEAD.rstrip()]
    for kind in KINDS.values():
        parts += _describe(kind)
    parts.append("\n## Virtual kinds\n")
    parts.append("They measure nothing; they carry the alarms of what is no device (虚拟设备).\n")
    for name, rules in VIRTUAL_RULES.items():
        parts.append(f"\n### `{name}`\n")
        parts += _rules(rules)
    return "\n".join(parts) + "\n"


def describe_imports() -> str:
    """Return the reference page of import files, Markdown."""
    parts = [_IMPORTS_HEAD.rstrip()]
    for sheet in sheets(UTC).values():
        parts += _describe_sheet(sheet)
    return "\n".join(parts) + "\n"


def _describe(kind: DeviceKind) -> Iterator[str]:
    idle = f", idle every {_span(kind.idle_interval_s)}" if kind.idle_interval_s else ""
    yield f"\n## `{kind.name}` {kind.label.en} {kind.label.zh}\n"
    yield f"Ids begin with `{kind.id_prefix}-`. Reports every {_span(kind.interval_s)}{idle}."
    if kind.class_code:
        yield f"Component class `{kind.class_code}`."
    if kind.sleeps:
        yield "May be silent for hours without a fault."
    if kind.moves:
        yield "Moves: `lon` and `lat` say where it is."
    yield "\n| metric | meaning | unit | range | rest |\n| --- | --- | --- | --- | --- |"
    yield from map(_metric, kind.metrics)
    yield "\n| event | meaning | alarm rule | severity |\n| --- | --- | --- | --- |"
    for event in kind.events:
        rule = f"`{event.rule_id}` | {event.severity.text.en}" if event.rule_id else "– | –"
        yield f"| `{event.name}` | {event.label.en} {event.label.zh} | {rule} |"
    yield "\n| command | meaning | arguments |\n| --- | --- | --- |"
    for command in kind.commands:
        arguments = ", ".join(f"`{name}` {_unit(unit)}" for name, unit in command.arguments)
        yield f"| `{command.name}` | {command.label.en} {command.label.zh} | {arguments or '–'} |"
    yield "\n| watch | default | opens; clears | rule | source |\n| --- | --- | --- | --- | --- |"
    for watch in kind.watches:
        yield _limit(watch, kind) if isinstance(watch, Limit) else _watch(watch)
    yield ""
    yield from _rules(kind.rules)


def _metric(metric: Metric) -> str:
    rest = f"+{metric.rest:g} an interval" if metric.grows else f"{metric.rest:g}"
    noise = f" ± {metric.noise:g}" if metric.noise else ""
    return (
        f"| `{metric.name}` | {metric.label.en} {metric.label.zh} | {_unit(metric.unit)}"
        f" | {metric.low:g} … {metric.high:g} | {rest}{noise} |"
    )


def _limit(limit: Limit, kind: DeviceKind) -> str:
    sign = "≤" if limit.below else "≥"
    steps = ", ".join(f"{severity.text.en} {sign} {at:g}" for severity, at in limit.steps)
    state = f" while `{limit.when}`" if limit.when else ""
    state += f" unless `{limit.unless}`" if limit.unless else ""
    opens = f"{limit.hold} rows" if limit.hold > 1 else "1 row"
    opens += f" and {_span(limit.hold_s)}" if limit.hold_s else ""
    clears = f"{limit.clear_hold} within by {limit.clear_margin:g}"
    unit = _unit(kind.metric(limit.metric).unit)
    return (
        f"| `{limit.metric}` {unit}{state} | {steps or 'each device has its own'}"
        f" | {opens}; {clears} | `{limit.rule_id}` | {limit.source} |"
    )


def _watch(watch: Watch) -> str:
    rules = ", ".join(f"`{rule_id}`" for rule_id in watch.rule_ids)
    return f"| {watch.about} | by each device's own noise | | {rules} | {watch.source} |"


def _rules(rules: Iterable[AlarmRule]) -> Iterator[str]:
    yield (
        "| alarm rule | meaning | severity | for | delay on / off | case | verified by | source |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    for rule in rules:
        off = rule.off_delay_s if rule.quiet_clear_s is None else rule.quiet_clear_s
        latched = ", stays until reset" if rule.latched else ""
        case = f"{rule.category} `{rule.class_code}`, {rule.handle_hours:g} h"
        if rule.on_site_minutes is not None:
            case += f", on site {rule.on_site_minutes:g} min"
        yield (
            f"| `{rule.rule_id}` | {rule.label.en} {rule.label.zh} | {rule.severity.text.en}"
            f" | {rule.audience} | {_span(rule.on_delay_s)} / {_span(off)}{latched}"
            f" | {case if rule.class_code else '–'} | {rule.verify.replace('_', ' ')}"
            f" | {rule.source} |"
        )


def _describe_sheet(sheet: Sheet) -> Iterator[str]:
    forms = f"CSV, or GeoJSON with {sheet.geometry}s" if sheet.geometry else "CSV"
    yield f"\n## `{sheet.what}` {sheet.label.zh}\n"
    yield f"{forms}. A row is known by {', '.join(f'`{name}`' for name in sheet.key)}."
    if sheet.extras:
        yield "Further columns are kept as attributes."
    yield "\n| column | 中文列名 | needed | what it says |\n| --- | --- | --- | --- |"
    for field in sheet.fields:
        needed = "yes" if field.required else "no"
        yield f"| `{field.name}` | {field.zh} | {needed} | {field.about.en}; {field.about.zh} |"
    yield f"\n```csv\n{template(sheet).replace(chr(13), '').rstrip()}\n```"


def _unit(code: str) -> str:
    return f"`{code}`"


def _span(seconds: float) -> str:
    """Return a span of time in the unit that fits it.

    >>> [_span(seconds) for seconds in (0, 90, 300, 3600, 86_400)]
    ['0', '90 s', '5 min', '1 h', '24 h']
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s" if seconds else "0"
