"""The bench of the detector: the stage of service, and figures that its goals name."""

import json

import pytest

from cityhub.cli import main


def test_it_tells_points_a_second_ratio_bytes_and_how_the_state_is_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = ["--series", "3000", "--batch", "1000", "--rounds", "2"]
    assert main(["bench", "analytics", *sizes, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    for form in ("full", "fast"):
        assert report[f"{form}_points_per_s"] > 0
        assert report[f"{form}_over_gaussian"] > 1
    assert report["full_state_bytes"] > 3 * report["fast_state_bytes"] > 1_000
    assert report["snapshot_bytes"] > 3_000 * report["full_state_bytes"]
    assert 0 < report["snapshot_pause_s"] < report["snapshot_s"]
    assert report["restore_s"] > 0
    assert {goal["figure"] for goal in report["goals"]} == {
        "full_points_per_s",
        "fast_points_per_s",
        "full_over_gaussian",
        "restore_s",
    }
