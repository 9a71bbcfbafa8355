"""The bench itself: that it counts rows, names its rival, and refuses a run that lost some."""

from typing import Any

import pytest

from cityhub.bench import ingest
from core.errors import StartError
from core.settings import load_settings
from tests.servers import require_mosquitto


async def _run(**changes: Any) -> dict[str, Any]:
    require_mosquitto()
    settings = load_settings(environ={}, ingest={"batch": 500})
    return await ingest.run(
        settings,
        **{"messages": 3_000, "devices": 50, "rounds": 1, "say": lambda _: None, **changes},
    )


async def test_the_bench_of_ingest_reports_ratios_of_one_run_with_its_raw_samples() -> None:
    report = await _run()
    assert len(report["samples"]) == 1
    for figure in ("hub", "counter"):
        assert report[f"{figure}_msgs_per_s"] > 0
        assert report[f"{figure}_cpu_us_per_msg"] > 0
    assert report["ratio_counter"] == pytest.approx(
        report["hub_msgs_per_s"] / report["counter_msgs_per_s"], rel=0.01
    )
    assert report["ratio_copy"] > 0
    assert "C" in report["counter"] or "mosquitto_sub" in report["counter"]
    assert "mosquitto" in report["versions"]["mosquitto"]


async def test_a_run_that_lost_rows_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ingest._Bench._check

    def lossy(bench: ingest._Bench, messages: int) -> None:
        real(bench, messages + 1)

    monkeypatch.setattr(ingest._Bench, "_check", lossy)
    with pytest.raises(StartError, match="no result: 3001 messages"):
        await _run()
