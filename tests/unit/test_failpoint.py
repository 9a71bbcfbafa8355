import os
import signal
import subprocess
import sys

import pytest

from core import failpoint
from core.failpoint import _parse

PASS_THRICE = "from core.failpoint import passing\nfor n in range(3): passing('here'); print(n)"


def run(points: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-uc", PASS_THRICE],
        env={**os.environ, "CITYHUB_FAILPOINT": points},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_point_that_is_off_does_nothing() -> None:
    failpoint.passing("nowhere")
    assert run("").stdout == run("there:kill").stdout == "0\n1\n2\n"


def test_a_point_kills_at_the_passage_that_it_names() -> None:
    first, third = run("here:kill"), run("other:sleep=0,here:kill@3")
    assert (first.returncode, first.stdout) == (-signal.SIGKILL, "")
    assert (third.returncode, third.stdout) == (-signal.SIGKILL, "0\n1\n")


def test_a_point_raises() -> None:
    assert "FailpointError: here" in run("here:error").stderr


def test_an_unknown_action_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="explode"):
        _parse("here:explode")
