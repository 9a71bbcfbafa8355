"""What the sixth kind must do in the copied tree, with no line about it anywhere but in its diff.

Run by ``tests/e2e/test_sixth_kind.py`` in a process of its own, after the diff was applied.
"""

from pathlib import Path

import httpx

import devices
from analytics.stages import build_stages
from api.app import create_app
from core.clock import ManualClock
from core.db import Pool
from core.model import Severity
from core.settings import load_settings
from devices import KINDS
from devices.native import encode_event, encode_record
from simulators.rest import RestingDevice
from tests.intake import NOON, NOON_MICROS, SECOND, add_devices, query, take, telemetry, values_of
from tests.serving import FakeActions

KIND = KINDS["chamber_gas"]


def test_this_is_the_copied_tree() -> None:
    assert Path(devices.__path__[0]).resolve().parent == Path.cwd().resolve()


def test_decodes_stores_and_judges(database: str) -> None:
    add_devices(database, "CG-0001", kind="chamber_gas")
    rest = {metric.name: metric.rest for metric in KIND.metrics}
    calm, gas = rest, {**rest, "ch4": 60.0}
    messages = [
        telemetry(
            "CG-0001",
            encode_record(KIND, values, ts_micros=NOON_MICROS - (9 - i) * SECOND, seq=i),
        )
        for i, values in enumerate((calm, gas))
    ]
    event = ("hub/CG-0001/event", encode_event("gas_high", ts_micros=NOON_MICROS, seq=2, on=True))
    take(database, [*messages, event], build_stages=build_stages)
    assert values_of(database, "seq, ch4, o2, quality", "chamber_gas") == [
        (0, 1, 20.9, 0),
        (1, 60, 20.9, 0),
    ]
    found = query(
        database, "SELECT DISTINCT rule_id, severity FROM hub.finding WHERE rule_id = 'gas_leak'"
    )
    assert found == [("gas_leak", Severity.RED)]
    assert query(database, "SELECT count(*) FROM hub.reading WHERE metric = 'ch4'") == [(2,)]


def test_an_open_hub_knows_it_by_its_prefix(database: str) -> None:
    take(database, [telemetry("CG-0002", b'{"ch4":1}')], unknown_devices="open")
    assert query(database, "SELECT kind FROM hub.device") == [("chamber_gas",)]


async def test_the_api_shows_it_with_its_labels(database: str, pool: Pool) -> None:
    add_devices(database, "CG-0001", kind="chamber_gas")
    app = create_app(
        pool=pool,
        url=database,
        settings=load_settings(environ={}),
        clock=ManualClock(NOON),
        actions=FakeActions(),
    )
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        kind = (await client.get("/api/v1/kinds/chamber_gas")).raise_for_status().json()
        device = (await client.get("/api/v1/devices/CG-0001")).raise_for_status().json()
    assert kind["label"] == {"zh": "井下气体探头", "en": "Chamber gas sensor"}
    assert {metric["name"]: metric["unit"] for metric in kind["metrics"]}["ch4"] == "%{LEL}"
    assert device["kind"] == "chamber_gas"


def test_a_resting_one_is_simulated_and_raises_nothing(database: str) -> None:
    add_devices(database, "CG-0001", kind="chamber_gas")
    device = RestingDevice(KIND, "CG-0001", seed=1)
    step = round(KIND.interval_s * SECOND)
    times = [NOON_MICROS - (200 - i) * step for i in range(200)]
    take(
        database,
        [
            telemetry("CG-0001", encode_record(KIND, device.values(at), ts_micros=at, seq=i))
            for i, at in enumerate(times)
        ],
        received_at=times,
        build_stages=build_stages,
    )
    assert len(values_of(database, "1", "chamber_gas")) == 200
    assert query(database, "SELECT rule_id FROM hub.finding") == []
