"""The same load through a real Node-RED: MQTT in, a function, INSERTs over a pool of ten.

It is fetched from npm into the cache folder, never into the project. Node-RED acknowledges a
message when it arrives, before its INSERT: what it holds is lost when it is killed.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from cityhub.bench.arena import Arena, Contestant
from cityhub.bench.broker import ROOT, USER, Door
from cityhub.bench.load import Load, Sender
from core.errors import StartError
from devices import KINDS

PACKAGES: Final = ("node-red@4.1.15", "pg@8.23.1")
"""Node-RED 5 wants a newer Node than Debian 12 has."""
_INSTALL_S: Final = 600
_SCRIPT: Final = ROOT / "tests" / "bench" / "node_red.js"
_POOL: Final = 10


def cache_folder() -> Path:
    """Return where Node-RED is installed."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cityhub" / "node-red"


def install(say: Callable[[str], None]) -> str:
    """Fetch Node-RED where it is not there yet; return its version and that of Node.

    Raises:
        StartError: There is no Node, or npm cannot fetch it.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise StartError("--peer node-red needs Node.js and npm: apt-get install nodejs npm")
    folder = cache_folder()
    manifest = folder / "node_modules" / "node-red" / "package.json"
    if not manifest.exists():
        say(f"fetching {' and '.join(PACKAGES)} into {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", *PACKAGES],
            capture_output=True,
            text=True,
            timeout=_INSTALL_S,
            check=False,
        )
        if done.returncode:
            raise StartError(f"npm cannot fetch Node-RED: {done.stderr.strip()[-300:]}")
    told = json.loads(manifest.read_text("utf-8"))["version"]
    runs = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return f"{told} on Node {runs.strip()}"


def node_red(arena: Arena, load: Load, senders: Sequence[Sender]) -> Callable[[Door], Contestant]:
    """Return Node-RED with a flow that stores the load's readings."""

    def enter(door: Door) -> Contestant:
        folder = arena.folder / "node-red"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        login = {"broker": {"user": USER, "password": door.password}}
        (folder / "flows.json").write_text(json.dumps(_flow(door)), "utf-8")
        (folder / "flows_cred.json").write_text(json.dumps(login), "utf-8")
        facts = {
            "root": str(cache_folder()),
            "folder": str(folder),
            "messages": len(load),
            "database": arena.url,
            "pool": _POOL,
            "devices": {sender.device_id: sender.device_no for sender in senders},
            "inserts": {sender.device_id: _insert(sender.kind.name) for sender in senders},
        }
        (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
        return Contestant("Node-RED", ["node", str(_SCRIPT), str(folder / "facts.json")], {})

    return enter


def _insert(kind: str) -> dict[str, Any]:
    """Return the INSERT of a kind and the keys of its values."""
    names = [metric.name for metric in KINDS[kind].metrics]
    marks = ", ".join(f"${n}" for n in range(4, 4 + len(names)))
    columns = ", ".join(f'"{name}"' for name in names)
    return {
        "text": f"INSERT INTO hub.reading_{kind} (ts, seq, device_no, {columns})"  # noqa: S608 - ours
        f" VALUES (to_timestamp($1 / 1000.0), $2, $3, {marks})",
        "keys": names,
    }


def _flow(door: Door) -> list[dict[str, Any]]:
    """Return the flow: an MQTT node, a JSON node and a function that inserts."""
    return [
        {"id": "tab", "type": "tab", "label": "bench"},
        {
            "id": "broker",
            "type": "mqtt-broker",
            "broker": "127.0.0.1",
            "port": str(door.out_port),
            "clientid": USER,
            "autoConnect": True,
            "usetls": False,
            "protocolVersion": "5",
            "keepalive": "600",
            "cleansession": False,
            "sessionExpiry": "3600",
        },
        {
            "id": "in",
            "type": "mqtt in",
            "z": "tab",
            "topic": "hub/#",
            "qos": "1",
            "datatype": "utf8",
            "broker": "broker",
            "nl": False,
            "rap": True,
            "rh": 0,
            "inputs": 0,
            "wires": [["parse"]],
        },
        {"id": "parse", "type": "json", "z": "tab", "property": "payload", "wires": [["store"]]},
        {
            "id": "store",
            "type": "function",
            "z": "tab",
            "func": "await global.get('store')(msg.topic, msg.payload); return null;",
            "outputs": 1,
            "libs": [],
            "wires": [[]],
        },
    ]
