"""The reference of commands, routes, figures and reasons, made from what runs.

``scripts/docs`` writes the pages; a test fails when they are out of date, so what an operator reads
cannot part from what the program does.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client import Counter, Gauge, Histogram

from api.app import ROUTERS, create_app, describe
from api.figures import DATABASE_UP, FAMILIES
from api.policy import policy_of
from cityhub.cli import build_parser
from core import metrics
from core.clock import SystemClock
from core.settings import Settings
from ingest.reasons import REASONS

_CLI_HEAD: Final = """\
# Commands

Made from `cityhub/commands/` by `scripts/docs`; edit there. `cityhub COMMAND --help` has examples.

Exit codes: 0 done, 1 it could not be done, 2 the command or a setting is wrong. What went wrong is
one plain sentence on stderr. Settings come from `--config` or `CITYHUB_CONFIG` and from the
environment; see [settings](settings.md).
"""

_API_HEAD: Final = """\
# Routes

Made from `api/` by `scripts/docs`; edit there. Bodies, answers and examples: `/api/openapi.json` of
a running hub.

*Staff* is whoever has logged in: programs send `Authorization: Bearer …` with `api.token`; on
loopback without a token it is everybody on the machine. *Public* needs no login. An error is a
problem document (RFC 9457) in Chinese and English.
"""

_METRICS_HEAD: Final = """\
# Figures

Made from `core/metrics.py` and `api/figures.py` by `scripts/docs`; edit there.

`GET /metrics` of the role `serve` shows the figures of all roles in Prometheus's text format: one
target to scrape, however many machines there are. Rules and a dashboard: `deploy/prometheus/`,
`deploy/grafana/`. Which role moves a figure is its label `role`.
"""

_COUNTED: Final = """\
## What the processes count

Each sample also has the labels `role` and `process` (`host:pid`), and is at most five seconds old.
What a process measured (a gauge) goes with it; what it counted is shown for ten minutes more.
"""

_STANDING: Final = """\
## What stands in the tables

Read at each scrape. While the database is away only `cityhub_database_up` and the figures of the
role that serves are there.
"""

_PROCESS: Final = """\
## Of each process

`process_cpu_seconds_total`, `process_resident_memory_bytes` and `process_open_fds`, as the
Prometheus client library measures them, with the labels `role` and `process`.
"""

_QUARANTINE_HEAD: Final = """\
# Reasons of quarantine 隔离原因

Made from `ingest/reasons.py` by `scripts/docs`; edit there.

A message or record that cannot be read is never dropped: it stands in quarantine with its bytes and
one of these reasons, and is counted in the ledger. Codes are stable. `cityhub quarantine list`
shows what is there.
"""


def describe_cli() -> str:
    """Return the reference page of all commands, Markdown."""
    parser = build_parser()
    return "\n".join([_CLI_HEAD.rstrip(), *_options(parser), *_commands(parser, "cityhub")]) + "\n"


def describe_api() -> str:
    """Return the reference page of all routes, Markdown."""
    lines = [_API_HEAD, "| route | who | what it does |\n| --- | --- | --- |"]
    lines += [f"| `{method} {path}` | {who} | {text} |" for method, path, who, text in _routes()]
    return "\n".join(lines) + "\n"


def describe_metrics() -> str:
    """Return the reference page of all figures, Markdown."""
    head = "| figure | type | labels | what it is |\n| --- | --- | --- | --- |"
    lines = [_METRICS_HEAD, _COUNTED, head]
    for one in counted():
        (family,) = one.describe()
        name = f"{family.name}_total" if isinstance(one, Counter) else family.name
        lines.append(_figure(name, family.type, one._labelnames, family.documentation))
    lines += ["", _STANDING, head]
    standing = {DATABASE_UP[0]: DATABASE_UP[1:], **FAMILIES}
    lines += [_figure(name, "gauge", labels, text) for name, (text, labels) in standing.items()]
    return "\n".join([*lines, "", _PROCESS.rstrip()]) + "\n"


def describe_quarantine() -> str:
    """Return the reference page of the reasons of quarantine, Markdown."""
    lines = [
        _QUARANTINE_HEAD,
        "| code | stopped at | 说明 | what it means |\n| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{code}` | {reason.stage} | {_plain(reason.text.zh)} | {_plain(reason.text.en)} |"
        for code, reason in REASONS.items()
    ]
    return "\n".join(lines) + "\n"


def counted() -> list[Counter | Gauge | Histogram]:
    """Return the figures that processes count, in the order of their module."""
    return [one for one in vars(metrics).values() if isinstance(one, Counter | Gauge | Histogram)]


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands of a parser, hidden ones and second names left out."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                name = choice.dest
                found[name] = action.choices[name]
    return found


def _commands(parser: argparse.ArgumentParser, above: str) -> Iterator[str]:
    for name, command in commands(parser).items():
        title = f"{above} {name}"
        below = commands(command)
        if below:
            yield from _commands(command, title)
            continue
        places = "".join(
            f" {_metavar(action)}"
            for action in command._actions
            if not action.option_strings and action.help != argparse.SUPPRESS
        )
        yield f"\n## `{title}{places}`\n\n{_plain(command.description or '')}"
        yield from _options(command)


def _options(parser: argparse.ArgumentParser) -> list[str]:
    shown = [
        action
        for action in parser._actions
        if action.help not in {None, argparse.SUPPRESS}
        and not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]
    if not shown:
        return []
    lines = ["\n| argument | what it is |\n| --- | --- |"]
    for action in shown:
        words = ", ".join(action.option_strings) or _metavar(action)
        takes = "" if action.nargs == 0 or not action.option_strings else f" {_metavar(action)}"
        lines.append(f"| `{words}{takes}` | {_plain(action.help or '')} |")
    return lines


def _metavar(action: argparse.Action) -> str:
    if action.metavar is not None:
        name = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    elif action.choices is not None:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        name = action.dest.upper()
    return f"[{name}]" if action.nargs == "?" and not action.option_strings else name


def describe_openapi() -> str:
    """Return the OpenAPI document, from which the page's types are made."""
    return json.dumps(describe(_app()), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _routes() -> Iterator[tuple[str, str, str, str]]:
    app = _app()
    marks = {
        (method, route.path): policy_of(route.endpoint)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    for path, item in describe(app)["paths"].items():
        for method, operation in item.items():
            who = marks.get((method.upper(), path))
            yield method.upper(), path, who.value if who else "nobody", operation["summary"]


def _app() -> FastAPI:
    return create_app(
        pool=_nobody(), url="", settings=Settings(), clock=SystemClock(), actions=_nobody()
    )


def _nobody() -> Any:
    """Return what an application is put together with that only describes itself."""
    return None


def _figure(name: str, kind: str, labels: Any, text: str) -> str:
    return f"| `{name}` | {kind} | {', '.join(f'`{one}`' for one in labels) or '–'} | {text} |"


def _plain(text: str) -> str:
    return " ".join(text.replace("%%", "%").replace("|", "\\|").replace("<", "&lt;").split())
