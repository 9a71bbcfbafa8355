"""The description of the API says what the API does."""

import string
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from api.app import create_app, describe
from api.examples import EXAMPLES
from api.reads.alarms import Alarm
from api.reads.cases import Case, Delivery
from api.reads.devices import Device
from api.reads.events import Event
from api.reads.incidents import Incident
from api.reads.operations import LedgerMinute
from api.reads.readings import Reading, RolledReading
from api.reads.receivers import Callback, Receiver
from api.routers.cases import Dispatching, Feedback, Verdict
from api.routers.doing import Acted, Reasoned
from api.routers.quarantine import Discarding, FieldMapping, Redriving, Trial
from api.routers.rules import Changing
from core.clock import ManualClock
from core.db import Pool
from tests.serving import NOON, FakeActions, FakeBench, api_settings, serving, settle

SHAPES: tuple[type[BaseModel], ...] = (
    Acted, Alarm, Callback, Case, Delivery, Device, Event, Incident, LedgerMinute, Reading,
    Receiver, RolledReading,
)  # fmt: skip
BODIES: tuple[type[BaseModel], ...] = (
    Reasoned, Dispatching, Feedback, Verdict, Trial, FieldMapping, Redriving, Discarding,
    Changing,
)  # fmt: skip


@pytest.fixture
def app(pool: Pool, database: str) -> FastAPI:
    return create_app(
        pool=pool,
        url=database,
        settings=api_settings(),
        clock=ManualClock(NOON),
        actions=FakeActions(),
        bench=FakeBench(),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_each_example_is_exactly_of_its_shape(shape: type[BaseModel]) -> None:
    example = EXAMPLES[shape.__name__]
    assert shape.model_validate(example).model_dump(mode="json") == example


def test_every_example_is_held_to_a_shape() -> None:
    assert set(EXAMPLES) == {shape.__name__ for shape in SHAPES}


@pytest.mark.parametrize("body", BODIES)
def test_each_example_of_a_body_is_accepted(body: type[BaseModel]) -> None:
    for example in body.model_json_schema()["examples"]:
        body.model_validate(example)


async def test_the_description_is_complete(app: FastAPI) -> None:
    document = describe(app)
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    for name, example in EXAMPLES.items():
        assert schemas[name]["examples"] == [example]
    operations = [
        (path, operation) for path, item in document["paths"].items() for operation in item.values()
    ]
    assert len(operations) > 30
    for path, operation in operations:
        assert operation["summary"], path
        assert operation["description"], path
        assert operation["tags"], path
        assert operation["responses"]["4XX"]["content"]["application/problem+json"], path
    assert "/lite" not in document["paths"]
    assert _references(document) <= {f"#/components/schemas/{name}" for name in schemas}


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(_references, node.values()))
    if isinstance(node, list):
        return set().union(*map(_references, node))
    return set()


async def test_the_description_is_served_and_nothing_of_it_is_loaded_from_elsewhere(
    pool: Pool, database: str
) -> None:
    async with serving(pool, database) as client:
        answer = await client.get("/api/openapi.json")
        assert answer.json()["info"]["title"] == "cityhub"
        assert (await client.get("/docs")).status_code == 404


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(string.printable, max_size=40),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["\0", "'", "' OR 1=1 --", "%s", "\\", "{}", "null", "9" * 400, "\ud800"]),
)


async def test_no_parameter_of_any_list_brings_the_api_down(
    app: FastAPI, pool: Pool, database: str
) -> None:
    """Each parameter of each GET, with anything at all: refused or answered, never a 5xx."""
    settle(database)
    targets = [
        (path.replace("{device_id}", "MH-0001").replace("{name}", "manhole_cover"), parameter)
        for path, item in describe(app)["paths"].items()
        for parameter in item.get("get", {}).get("parameters", ())
        if parameter["in"] == "query" and path != "/api/v1/stream"
    ]
    assert len(targets) > 30
    examples: list[tuple[str, str, str]] = []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(range(len(targets))), HOSTILE)
    def collect(index: int, value: str) -> None:
        path, parameter = targets[index]
        examples.append((path, parameter["name"], value.encode("utf-8", "replace").decode()))

    collect()
    async with serving(pool, database) as client:
        for path, name, value in examples:
            answer = await client.get(path, params={name: value})
            assert answer.status_code < 500, (path, name, value, answer.text)
        for path in ("/lite/devices?find=%00", "/lite/devices?after=%FF", "/lite?said=%00"):
            assert (await client.get(path)).status_code < 500
