"""``cityhub up --check`` says yes to a whole hub, and names the stage that is missing."""

import os
import re
import subprocess
import sys
import time

import pytest

from cityhub.hub import STAGES

EVERY_CHANGE = {"ingest", "alert", "dispatch"}
"""Stages left out with every change; the others, a minute each, by ``scripts/test --long``."""


def _check(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cityhub", "up", "--check", *arguments],
        env={k: v for k, v in os.environ.items() if not k.startswith("CITYHUB_")},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_theft_goes_all_the_way_and_every_step_has_its_time() -> None:
    done = _check()
    assert done.returncode == 0, done.stdout + done.stderr
    steps = re.findall(r"^ *([0-9.]+) s  \(\+[0-9.]+\)  ([a-z-]+)", done.stdout, re.MULTILINE)
    assert [stage for _, stage in steps] == [
        *("broker", "ingest", "detect", "alert", "alert", "alert"),
        *("dispatch", "stand-in", "serve"),
        *("simulate", "analyse"),
    ]
    assert float(steps[-1][0]) < 10


@pytest.mark.parametrize(
    "stage",
    [
        stage if stage in EVERY_CHANGE else pytest.param(stage, marks=pytest.mark.long)
        for stage in STAGES
    ],
)
def test_without_a_stage_it_fails_in_time_and_names_it(stage: str) -> None:
    start = time.monotonic()
    done = _check("--without", stage, "--patience", "10")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FAILED  stage {stage}: " in done.stdout
    assert time.monotonic() - start < 60


def test_a_stage_that_does_not_exist_is_refused() -> None:
    done = _check("--without", "coffee")
    assert done.returncode == 2
    assert "there is no stage 'coffee'" in done.stderr
