"""``cityhub backtest``: the stages of service over files or stored readings: what they raise."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cityhub.commands import Commands, add_command, backtest_history

if TYPE_CHECKING:
    from cityhub.suites import Report
    from core.settings import Settings

SUITES: Final = ("nab", "quiet", "covers", "gnss", "slopes", "gauges")

_ABOUT: Final = """
Plain series (--series): each CSV has the columns timestamp ('2014-02-14 14:30:00', ISO 8601 or
Unix seconds) and value; any others are kept. Every row gets an anomaly_score from 0 to 1 out of
what came before it: from 0.5 on it is an alert, below it only ranks. Rows that repeat a time, go
back, or cannot be read keep their place and score 0. One set of numbers serves every file.
"""

_EXAMPLES: Final = """\
  cityhub backtest --series cpu.csv --scores scored.csv
  cityhub backtest --series sensors/ --scores scored/
  cityhub backtest --suite nab --streams ../shared/streams --gate least
  cityhub backtest --suite covers --seeds 10 --gate aim
  cityhub backtest --kind manhole_cover covers.csv --out findings.jsonl
  cityhub backtest --kind displacement_point stations/ --out findings.jsonl\
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "backtest",
        _backtest,
        "run the real detectors over readings and tell what they would have raised",
        examples=_EXAMPLES + backtest_history.EXAMPLES,
    )
    command.description = f"{command.description}\n{_ABOUT}"
    command.add_argument(
        "input", type=Path, nargs="?", metavar="IN", help="a CSV file, or a folder of them"
    )
    command.add_argument("--kind", help="the kind whose readings these are")
    command.add_argument("--out", type=Path, help="JSON lines; a folder: one file for each")
    plain = command.add_argument_group("plain series")
    plain.add_argument(
        "--series", type=Path, metavar="IN", help="a CSV with timestamp and value, or a folder"
    )
    plain.add_argument(
        "--scores", type=Path, metavar="OUT", help="where the same goes, with an anomaly_score"
    )
    suites = command.add_argument_group("suites")
    suites.add_argument("--suite", choices=SUITES, help="what to be judged by")
    suites.add_argument(
        "--streams", type=Path, metavar="DIR", help="folder of the labelled streams (nab/ in it)"
    )
    suites.add_argument("--gate", choices=["least", "aim"], help="exit 1 where this is not met")
    suites.add_argument(
        "--nested", action="store_true", help="nab: choose on one half, score on the other, too"
    )
    suites.add_argument(
        "--seeds",
        type=int,
        default=20,
        help="quiet: how many of each series; covers, slopes, gauges: sets drawn afresh (20)",
    )
    backtest_history.add_options(command)


def _backtest(settings: "Settings", arguments: argparse.Namespace) -> int:
    from core.errors import ConfigError

    if arguments.series is not None or arguments.scores is not None:
        if arguments.series is None or arguments.scores is None:
            raise ConfigError("name both --series IN and --scores OUT")
        return _series(arguments)
    if arguments.suite is not None:
        return _suite(arguments)
    if arguments.kind is None:
        raise ConfigError("name --series and --scores, a --suite, or a --kind; --help tells more")
    return _kind(settings, arguments)


def _series(arguments: argparse.Namespace) -> int:
    from analytics.backtest.series import score_files

    files, rows, bad = score_files(arguments.series, arguments.scores, _say)
    _say(f"{files} files, {rows:,} rows, {bad} not read; scores in {arguments.scores}")
    return 0


def _suite(arguments: argparse.Namespace) -> int:
    import json

    from cityhub.suites import run_nab, run_quiet
    from core.errors import ConfigError

    if arguments.suite in {"covers", "slopes", "gnss"}:
        from cityhub.ground_suites import run_covers, run_gnss, run_slopes

        if arguments.suite == "gnss":
            report = run_gnss(_say, streams=arguments.streams)
        else:
            run = run_covers if arguments.suite == "covers" else run_slopes
            report = run(_say, streams=arguments.streams, seeds=arguments.seeds)
    elif arguments.suite == "gauges":
        from cityhub.gauge_suite import run_gauges

        report = run_gauges(_say, streams=arguments.streams, seeds=arguments.seeds)
    elif arguments.suite == "nab":
        if arguments.streams is None:
            raise ConfigError("name the folder of the labelled streams with --streams")
        report = run_nab(arguments.streams, _say, nested=arguments.nested)
    else:
        report = run_quiet(_say, seeds=arguments.seeds)
    text = json.dumps(report, ensure_ascii=False, indent=1)
    if arguments.json and arguments.json != "-":
        Path(arguments.json).write_text(text + "\n", "utf-8")
    if arguments.json == "-":
        print(text)
    else:
        _print(report)
    return 0 if arguments.gate is None or report[arguments.gate] else 1


def _print(report: "Report") -> None:
    for name, value in report.items():
        if isinstance(value, list) and value:
            print("  ".join(f"{column:>18}" for column in value[0]))
            for row in value:
                print("  ".join(f"{word!s:>18}" for word in row.values()))
        else:
            print(f"{name:24} {value}")


def _say(word: str) -> None:
    print(word, file=sys.stderr)


def _kind(settings: "Settings", arguments: argparse.Namespace) -> int:
    from analytics.backtest.kinds import run_kind
    from core.errors import ConfigError

    if arguments.start is not None:
        return backtest_history.run(settings, arguments)
    if arguments.input is None or arguments.out is None:
        raise ConfigError("name a file and --out, or --from and --to for stored readings")
    account = run_kind(arguments.kind, arguments.input, arguments.out)
    print(
        f"{account.rows} rows of {account.devices} devices, {account.bad} left out,"
        f" {account.lines} episodes in {arguments.out}",
        file=sys.stderr,
    )
    return 0
