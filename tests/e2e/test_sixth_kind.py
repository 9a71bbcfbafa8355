"""A further kind is one module and its two lines, and nothing else anywhere.

The diff is applied to a copy of the tree, and the copy is run in a process of its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.servers import ROOT

DIFF: Final = ROOT / "tests" / "data" / "sixth_kind.diff"
PACKAGES: Final = (
    "cityhub",
    "core",
    "devices",
    "ingest",
    "analytics",
    "alerts",
    "api",
    "simulators",
)
COPIED: Final = ("tests", "deploy", "scripts", *PACKAGES)
CHECKED: Final = (
    "tests/data/sixth_kind_checks.py",
    "tests/contract/test_kinds.py",
    "tests/contract/test_stages.py",
    "tests/unit/test_columns.py",
    "tests/unit/test_rest.py",
)


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the diff applied."""
    tree = tmp_path_factory.mktemp("sixth") / "cityhub"
    tree.mkdir()
    leave = shutil.ignore_patterns("__pycache__", "node_modules", ".*_cache")
    for name in COPIED:
        shutil.copytree(ROOT / name, tree / name, ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", tree)
    applied = subprocess.run(
        ["git", "apply", "--verbose", str(DIFF)],
        cwd=tree,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert applied.returncode == 0, applied.stderr
    assert (tree / "devices" / "chamber_gas.py").exists()
    return tree


def test_the_diff_is_one_module_and_two_lines() -> None:
    lines = DIFF.read_text("utf-8").splitlines()
    files = [line.removeprefix("+++ b/") for line in lines if line.startswith("+++ ")]
    assert sorted(files) == ["devices/__init__.py", "devices/chamber_gas.py"]
    start = lines.index("+++ b/devices/__init__.py")
    stop = lines.index("+++ b/devices/chamber_gas.py")
    changed = [line for line in lines[start + 1 : stop] if line.startswith(("+", "-"))]
    added = [line for line in changed if line.startswith("+")]
    assert [line.strip("+ ") for line in added] == [
        "from devices.chamber_gas import CHAMBER_GAS",
        "CHAMBER_GAS,",
    ]
    assert all(line.startswith(("+", "--- /dev/null")) for line in changed)


@pytest.mark.parametrize("path", CHECKED)
def test_it_works_in_every_part(copy: Path, server_url: str, path: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path],
        cwd=copy,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("CITYHUB_")},
            "PYTHONPATH": str(copy),
            "CITYHUB_TEST_DATABASE_URL": server_url,
        },
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
