"""The bench itself: that it counts rows, names its rival, and refuses a run that lost some."""

import os
from typing import Any

import pytest

from cityhub.bench import alarms, arena, goals, ingest
from cityhub.bench.load import Load
from core.errors import StartError
from core.settings import load_settings
from tests.servers import require_mosquitto


async def _run(**changes: Any) -> dict[str, Any]:
    require_mosquitto()
    settings = load_settings(environ={}, ingest={"batch": 500})
    return await ingest.run(
        settings,
        **{"messages": 2_000, "devices": 40, "rounds": 1, "say": lambda _: None, **changes},
    )


@pytest.mark.timeout(400)  # it starts twenty programs, one after the other
async def test_the_bench_of_ingest_reports_ratios_of_one_run_with_its_raw_samples() -> None:
    report = await _run()
    assert len(report["samples"]) == 1
    for name in (
        "hub",
        "hub_live",
        "counter",
        "counter_live",
        "parsed",
        "stored",
        "paho",
        "single",
    ):
        assert report[f"{name}_msgs_per_s"] > 0
        assert report[f"{name}_cpu_us_per_msg"] > 0
    assert report["ratio_counter"] == pytest.approx(
        report["hub_msgs_per_s"] / report["counter_msgs_per_s"], rel=0.01
    )
    for name in ("copy_rows_per_s", "ratio_copy", "db_cpu_us_per_msg", "log_live_msgs_per_s"):
        assert report[name] > 0
    assert 0 < report["committed_p50_ms"] <= report["committed_p99_ms"]
    compiled = report["counter"] == "libmosquitto, C"
    if os.environ.get("CI") == "true":
        assert compiled, f"the rival of the bench is not the compiled one: {report['counter']}"
    assert compiled or report["counter"].startswith("mosquitto_sub: ")
    assert "mosquitto" in report["versions"]["mosquitto"]


async def test_a_run_that_lost_rows_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    real = arena.Arena.check

    def lossy(self: arena.Arena, load: Load, *, dirt: bool = True) -> None:
        load.rows["street_lamp"] += 1
        real(self, load, dirt=dirt)

    monkeypatch.setattr(arena.Arena, "check", lossy)
    with pytest.raises(StartError, match="no result"):
        await _run()


def test_each_goal_is_told_with_bar_and_value_and_whether_it_is_met() -> None:
    told = {g["figure"]: g for g in goals.judge({"ratio_counter": 2.5, "committed_p99_ms": 51.0})}
    assert (told["ratio_counter"]["met"], told["ratio_counter"]["stretched"]) == (True, True)
    assert told["committed_p99_ms"]["met"] is False
    assert told["ratio_parsed"]["met"] is None
    lines = list(goals.table(list(told.values())))
    assert len(lines) == len(told)
    assert any(line.startswith("NOT MET") for line in lines)


@pytest.mark.timeout(300)  # a server and two roles start, and other tests want the machine too
async def test_the_bench_of_alarms_hears_every_finding_on_the_feed_and_counts_none_twice() -> None:
    report = await alarms.run(seconds=0.6, calm_s=3, say=lambda _: None)
    assert (report["calm_findings"], report["storm_findings"]) == (50, 500)
    assert report["calm_events_heard"] == 50
    assert report["chain_whole"]
    assert 0 < report["alarm_feed_p50_ms"] <= report["alarm_feed_p99_ms"]
    assert report["alarms"] * 2 > report["events"] / 2
    assert {goal["figure"] for goal in report["goals"]} <= report.keys()
