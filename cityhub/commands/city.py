"""``cityhub import``: the city's data from files."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cityhub.commands import Commands, add_command, add_group, add_json

if TYPE_CHECKING:
    from core.settings import Settings

_SHEETS = ("departments", "grid", "components", "devices", "duties", "segments", "plans", "links")


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands,
        "import",
        "city data from CSV and GeoJSON, all or nothing",
        "  cityhub import grid cells.geojson --dry-run\n"
        "  cityhub import devices devices.csv --json\n"
        "  cityhub import devices --template > devices.csv\n"
        "order: departments, grid, duties, components, devices, links, segments, plans",
    )
    for what in _SHEETS:
        parser = add_command(group, what, _import, f"import {what}")
        parser.set_defaults(what=what)
        parser.add_argument("file", type=Path, nargs="?", help="the file, .csv or .geojson")
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="list every problem with its line, change nothing",
        )
        parser.add_argument(
            "--template", action="store_true", help="print a CSV file to start from, and end"
        )
        add_json(parser)


def _import(settings: "Settings", arguments: argparse.Namespace) -> int:
    from zoneinfo import ZoneInfo

    from cityhub.access import connect
    from core.errors import ConfigError
    from devices.importer import import_file
    from devices.intake.sheet import template
    from devices.intake.sheets import sheets
    from devices.secret import load_site_key

    zone = ZoneInfo(settings.city.time_zone)
    if arguments.template:
        print(template(sheets(zone)[arguments.what]), end="")
        return 0
    if arguments.file is None:
        raise ConfigError(f"name the file: cityhub import {arguments.what} FILE")
    site_key = None
    if arguments.what == "devices":
        site_key = load_site_key(settings.data_folder, make=False)
    with connect(settings, autocommit=True) as conn:
        report = import_file(
            conn,
            arguments.what,
            arguments.file,
            dry_run=arguments.dry_run,
            progress=_show_progress,
            site_key=site_key,
            zone=zone,
        )
    if arguments.json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
        return 0 if report.ok else 1
    for problem in report.problems:
        print(problem)
    for note in report.notes:
        print(f"{note.zh} / {note.en}")
    done = "would be" if arguments.dry_run else "were"
    print(
        f"{report.rows} rows: {report.new} {done} new, {report.changed} {done} changed,"
        f" {report.unchanged} unchanged, {report.problem_count} problems"
    )
    if not report.ok and not arguments.dry_run:
        print("nothing was imported: mend the lines above", file=sys.stderr)
    return 0 if report.ok else 1


def _show_progress(step: str, done: int, total: int) -> None:
    """Show how far it is, where a person looks."""
    if sys.stderr.isatty():
        share = f"{100 * done // total:3} %" if total else f"{done}"
        print(
            f"\r{step} {share}   ", end="\n" if done >= total else "", file=sys.stderr, flush=True
        )
