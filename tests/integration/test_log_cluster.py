"""A log in a cluster of three servers: whole with three copies, refused with one."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import nats as nats_py
import pytest

from cityhub.binaries import nats_server
from cityhub.child import Child, Program, stop_all
from cityhub.ports import free_port
from core.errors import StartError
from ingest.nats_wire import STREAM
from ingest.sources.log import find_log_problem, make_log, touch_mqtt
from tests.servers import open_folder

CONFIG = """
server_name: n{number}
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: {store}, max_mem: 64MB, max_file: 64MB, sync_interval: "2m" }}
mqtt {{ listen: "127.0.0.1:{mqtt}", stream_replicas: 3 }}
cluster {{ name: hub, listen: "127.0.0.1:{route}", routes: [{routes}] }}
authorization {{ users: [{{ user: hub, password: secret }}] }}
"""


@pytest.fixture
def cluster() -> Iterator[tuple[str, int]]:
    """The URL and the MQTT port of a NATS of three servers."""
    doors = [(free_port(), free_port(), free_port()) for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{route}"' for _, _, route in doors)
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder())
        children = [
            Child(_server(folder, number, ports, routes)) for number, ports in enumerate(doors)
        ]
        stack.callback(stop_all, children)
        yield f"nats://hub:secret@127.0.0.1:{doors[0][0]}", doors[0][1]


def _server(folder: Path, number: int, ports: tuple[int, int, int], routes: str) -> Program:
    port, mqtt, route = ports
    config = folder / f"{number}.conf"
    text = CONFIG.format(
        number=number,
        port=port,
        mqtt=mqtt,
        route=route,
        routes=routes,
        store=json.dumps(str(folder / str(number))),
    )
    config.write_text(text, "utf-8")
    return Program(
        name=f"nats {number}",
        argv=[str(nats_server(None)), "-c", str(config)],
        log=folder / f"{number}.log",
    )


@pytest.mark.tier_p
async def test_31_a_log_with_one_copy_in_a_cluster_is_refused(cluster: tuple[str, int]) -> None:
    url, mqtt_port = cluster
    async with asyncio.timeout(90):
        while True:  # until the cluster has found itself
            try:
                await touch_mqtt("127.0.0.1", mqtt_port, "hub", "secret")
                await make_log(url, replicas=3)
                break
            except (StartError, OSError, EOFError):
                await asyncio.sleep(0.2)
    assert await find_log_problem(url) is None
    client = await nats_py.connect(url)
    js = client.jetstream()
    await js.update_stream((await js.stream_info(STREAM)).config.evolve(num_replicas=1))
    await client.close()
    assert "1 copy in the cluster hub" in (await find_log_problem(url) or "")
