"""The command line is instant, teaches, and fails in sentences."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cityhub.cli import build_parser

_LOADED = """
import sys
before = set(sys.modules)
import cityhub.cli
cityhub.cli.build_parser().format_help()
print(*sorted(set(sys.modules) - before))
"""


def _cityhub(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cityhub", *arguments],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("CITYHUB_")}, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_loads_no_role_and_no_library() -> None:
    """What is loaded says it without a clock: all there is comes from the standard library."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _LOADED,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()
    ours = [name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names]
    assert [name for name in ours if name.split(".")[0] != "cityhub"] == []
    assert not {"asyncio", "ssl", "http", "email", "importlib.metadata"} & set(loaded)
    assert len([name for name in loaded if not name.startswith("cityhub")]) < 80


def test_help_teaches_by_examples() -> None:
    text = build_parser().format_help()
    for words in ("cityhub up --demo", "cityhub device add", "CITYHUB_DATABASE_URL"):
        assert words in text


@pytest.mark.parametrize("command", ["up", "ingest", "device", "import", "simulate", "quarantine"])
def test_each_command_has_help(command: str) -> None:
    done = _cityhub(command, "--help")
    assert done.returncode == 0
    assert len(done.stdout) > 100


def test_a_wrong_command_is_2() -> None:
    assert _cityhub("fly").returncode == 2


@pytest.mark.parametrize("role", ["ingest", "analyse", "alert", "serve", "migrate"])
def test_a_role_without_a_database_says_what_to_set(role: str, tmp_path: Path) -> None:
    done = _cityhub(role, CITYHUB_DATA_FOLDER=str(tmp_path))
    assert done.returncode == 2
    assert "set CITYHUB_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_2_and_named() -> None:
    done = _cityhub("ingest", CITYHUB_INGEST_BATCHES="7")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "unknown setting ingest.batches" in done.stderr


def test_a_broker_of_a_strange_scheme_is_2_and_explained() -> None:
    done = _cityhub(
        "ingest", CITYHUB_DATABASE_URL="postgresql://x@127.0.0.1:1/x", CITYHUB_BROKER_URL="amqp://x"
    )
    assert done.returncode == 2
    assert "nats://, tls://, mqtt:// or mqtts://" in done.stderr


@pytest.mark.parametrize(
    "command", [["device", "list"], ["quarantine", "list"], ["migrate"], ["up"]]
)
def test_a_database_that_is_away_is_1_and_one_sentence(command: list[str], tmp_path: Path) -> None:
    done = _cityhub(
        *command,
        CITYHUB_DATABASE_URL="postgresql://x@127.0.0.1:1/x",
        CITYHUB_DATA_FOLDER=str(tmp_path / "data"),
        CITYHUB_API_PORT="0",
    )
    assert done.returncode == 1, done
    (sentence,) = done.stderr.splitlines()
    assert "does not answer" in sentence or "cannot pass through" in sentence
