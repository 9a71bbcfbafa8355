"""What ``deploy/`` and the page on production say is true: figures, commands, settings, files."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Histogram

from api.figures import DATABASE_UP, FAMILIES
from cityhub.binaries import nats_server
from cityhub.cli import build_parser
from cityhub.reference import commands, counted
from core.presence import collect
from core.settings import Settings, load_settings
from tests.servers import ROOT

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "cityhub.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "cityhub.json"
PAGE = ROOT / "docs" / "how-to" / "run-in-production.md"
UNITS = DEPLOY / "systemd"
ROLES = ("ingest", "analyse", "alert", "dispatch", "serve")

NAME = re.compile(r"\b(?:cityhub|process)_[a-z_]+\b")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
INDENTED = (  # the only lines that the rules may have, so that they can be read without a parser
    r"#.*|groups:|scrape_configs:",
    r"  - name: [a-z-]+",
    r"    rules:",
    r"      - alert: Cityhub\w+",
    r"        expr: \S.*",
    r"        for: \d+[smh]",
    r"        labels:|        annotations:",
    r"          severity: (critical|warning)",
    r"          (summary|description): \S.*",
)


def known_names() -> set[str]:
    """Return every name of a sample that the page of figures can show."""
    names = {*FAMILIES, DATABASE_UP[0]}
    for one in counted():
        (family,) = one.describe()
        if isinstance(one, Counter):
            names.add(f"{family.name}_total")
        elif isinstance(one, Histogram):
            names |= {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
        else:
            names.add(family.name)
    return names | {
        sample[0]
        for name, family in collect().items()
        if name.startswith("process_")
        for sample in family["samples"]
    }


def known_labels() -> set[str]:
    labels = {label for one in counted() for label in one._labelnames}
    return (
        labels | {label for _, of in FAMILIES.values() for label in of} | {"role", "process", "le"}
    )


def rules() -> list[dict[str, str]]:
    """Return the alerts, flat, as far as they are lines of the form ``key: value``."""
    found: list[dict[str, str]] = []
    for line in RULES.read_text("utf-8").splitlines():
        key, _, value = line.strip().removeprefix("- ").partition(": ")
        if key == "alert":
            found.append({})
        if value and found:
            found[-1][key] = json.loads(value) if value.startswith('"') else value
    return found


def panels() -> list[dict[str, Any]]:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + shown


def test_the_rules_are_yaml_of_the_simplest_form() -> None:
    for line in RULES.read_text("utf-8").splitlines():
        assert any(re.fullmatch(form, line) for form in INDENTED), line
        value = line.partition(": ")[2]
        if value.startswith('"'):
            assert isinstance(json.loads(value), str)
        else:  # a plain scalar: nothing in it that would end it or mean something else
            assert not re.search(r": | #|^[\[{&*!|>%@`'-]", value), line


def test_every_rule_says_what_it_means_in_both_languages() -> None:
    assert len(rules()) == len({rule["alert"] for rule in rules()}) > 10
    for rule in rules():
        assert CHINESE.search(rule["summary"]), rule
        assert not CHINESE.search(rule["description"])
        assert rule["severity"] in {"critical", "warning"}


@pytest.mark.parametrize(
    "figure",
    [
        "cityhub_ledger_difference",
        "cityhub_log_lag_messages",
        "cityhub_ingest_oldest_unacked_seconds",
        "cityhub_quarantined_total",
        "cityhub_outbox_dead",
        "cityhub_role_up",
        "cityhub_disk_free_bytes",
        "cityhub_log_whole",
    ],
)
def test_the_figures_that_matter_have_a_rule_and_a_panel(figure: str) -> None:
    assert any(figure in rule["expr"] for rule in rules())
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    assert any(figure in expr for expr in shown)


def test_rules_and_dashboard_name_only_figures_and_labels_that_exist() -> None:
    for expr in expressions():
        assert set(NAME.findall(expr)) <= known_names(), expr
        for labels in re.findall(r"\bby \(([^)]*)\)", expr):
            assert {label.strip() for label in labels.split(",")} <= known_labels(), expr
        for labels in re.findall(r"\{([^}]*)\}", expr):
            assert set(re.findall(r"(\w+)[=!]", labels)) <= known_labels(), expr
    for panel in panels():
        for target in panel["targets"]:
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= known_labels(), target


def test_every_figure_of_the_processes_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    names = [family.name for one in counted() for family in one.describe()]
    assert [name for name in names if name not in shown] == ["cityhub_log_limit_bytes",
                                                             "cityhub_disk_size_bytes"]  # fmt: skip


def test_the_dashboard_has_titles_in_both_languages_and_no_panel_on_another() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert CHINESE.search(panel["title"])
        assert re.search(r" · [A-Z][A-Za-z]", panel["title"]), panel["title"]
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}


def test_prometheus_itself_takes_rules_and_expressions(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing (Debian package prometheus); the forms are tested anyhow")
    lines = ["groups:", "- name: dashboard", "  rules:"]
    for i, expr in enumerate(expressions()):
        quoted = json.dumps(expr.replace("$__rate_interval", "5m"), ensure_ascii=False)
        lines += [f"  - record: expression:{i}", f"    expr: {quoted}"]
    (tmp_path / "all.yml").write_text("\n".join(lines) + "\n", "utf-8")
    for file in (RULES, tmp_path / "all.yml"):
        subprocess.run([promtool, "check", "rules", str(file)], check=True, capture_output=True)
    config = DEPLOY / "prometheus" / "prometheus.yml"
    check = [promtool, "check", "config", "--syntax-only", str(config)]
    subprocess.run(check, check=True, capture_output=True)


def unit_lines() -> Iterator[tuple[str, str, str]]:
    for path in UNITS.iterdir():
        for line in path.read_text("utf-8").splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                yield path.name, key, value


def test_units_run_commands_that_exist_with_settings_that_exist() -> None:
    started = [value for _, key, value in unit_lines() if key == "ExecStart"]
    assert sorted(started) == ["/opt/cityhub/bin/cityhub %i", "/opt/cityhub/bin/cityhub migrate"]
    known = commands(build_parser())
    assert {*ROLES, "migrate"} <= set(known)
    (wanted,) = [value for name, key, value in unit_lines() if key == "Wants" and "@" in value]
    assert wanted.split() == [
        "cityhub-migrate.service",
        *(f"cityhub@{role}.service" for role in ROLES),
    ]
    for _, key, value in unit_lines():
        if key == "Environment":
            assert_setting(value.partition("=")[0])


def test_systemd_itself_takes_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is missing (Debian package systemd)")
    program = tmp_path / "cityhub"
    program.write_text("#!/bin/sh\n", "utf-8")
    program.chmod(0o755)
    for path in UNITS.iterdir():
        text = path.read_text("utf-8").replace("/opt/cityhub/bin/cityhub", str(program))
        (tmp_path / path.name.replace("@.", "@ingest.")).write_text(text, "utf-8")
    units = sorted(
        str(path) for path in tmp_path.iterdir() if path.suffix in {".service", ".target"}
    )
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr.strip()}")
    ours = [line for line in done.stderr.splitlines() if "cityhub" in line]
    assert ours == []


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_every_command_of_the_page_is_one() -> None:
    parser, found = build_parser(), 0
    text = PAGE.read_text("utf-8")
    quoted = re.findall(r"`(cityhub [a-z][^`]*)`", text)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    for line in [*quoted, *lines]:
        for inner in [*re.findall(r"\$\((cityhub [^)]*)\)", line), line]:
            words = shlex.split(inner, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words[:1] == ["cityhub"] and words[1:] != []:
                parser.parse_args(words[1:])
                found += 1
    assert found > 12


def test_every_setting_of_the_page_is_one(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    for name in set(re.findall(r"\bCITYHUB_[A-Z_]+\b", text)) - {"CITYHUB_CONFIG"}:
        assert_setting(name)
    for section, key in re.findall(r"`(api|broker|dispatch|ingest|database)\.([a-z_]+)`", text):
        assert_setting(f"CITYHUB_{section}_{key}".upper())
    (toml,) = blocks("toml")
    file = tmp_path / "cityhub.toml"
    file.write_text(toml, "utf-8")
    assert load_settings(file, {}).dispatch.url == "https://platform.city.example/orders"


def test_every_file_of_the_page_is_there() -> None:
    text = PAGE.read_text("utf-8")
    for name in re.findall(r"\bdeploy/[\w/@.-]+[\w/]", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([^)#]+)", text):
        assert (PAGE.parent / name).exists(), name
    for alert in re.findall(r"journalctl -u cityhub@(\w+)", text):
        assert alert in ROLES


def test_nats_takes_the_configuration_of_our_broker(tmp_path: Path) -> None:
    config = tmp_path / "nats.conf"
    text = (DEPLOY / "nats" / "nats.conf").read_text("utf-8")
    config.write_text(text.replace("/var/lib/nats", str(tmp_path / "store")), "utf-8")
    subprocess.run(
        [str(nats_server(None)), "-t", "-c", str(config)],
        env={**os.environ, "HUB_PASSWORD": "a", "MH_0001_SECRET": "b"},
        capture_output=True,
        check=True,
    )


def assert_setting(name: str) -> None:
    """Fail unless the settings know it."""
    if name == "CITYHUB_CONFIG":
        return
    section, _, key = name.removeprefix("CITYHUB_").lower().partition("_")
    model: Any = Settings.model_fields[section].annotation
    assert key in model.model_fields, name
