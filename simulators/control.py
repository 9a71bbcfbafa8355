"""The control socket: scenes are begun, mixed and ended while the hub runs.

A unix socket in the data folder that only its owner may open. Requests and answers are one JSON
object a line: ``{"do": "start", "scene": "cover_stolen", "target": "sim-MH-0001", "for_s": 600}``
is answered by ``{"ok": true, …}`` or ``{"ok": false, "error": "a sentence"}``. The hub never sees
this door.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from core.errors import CityhubError, ConfigError, StartError
from simulators.scenes import SCENES
from simulators.stream import Stream

_LONGEST_PATH: Final = 100
_LONGEST_LINE: Final = 65_536
_ANSWER_S: Final = 10.0

Handle = Callable[[Mapping[str, Any]], dict[str, Any]]


class Desk:
    """Answers requests about one stream.

    Args:
        stream: The city's devices.
        now: What time it is for them, microseconds UTC.
        status: Further facts for ``status``.
        changed: Called after each request that changed something.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        now: Callable[[], int],
        status: Callable[[], Mapping[str, Any]] = dict,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._stream = stream
        self._now = now
        self._status = status
        self._changed = changed

    def handle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request; never raises for what is in it."""
        doings: dict[str, Handle] = {
            "scenes": self._scenes,
            "start": self._start,
            "stop": self._stop,
            "repair": self._repair,
            "status": self._tell,
        }
        do = doings.get(str(request.get("do")))
        if do is None:
            return {"ok": False, "error": f"'do' must be one of {', '.join(doings)}"}
        try:
            answer = do(request)
        except CityhubError as error:
            return {"ok": False, "error": str(error)}
        except (TypeError, ValueError, AttributeError) as error:
            return {"ok": False, "error": f"the request cannot be read: {error}"}
        self._changed()
        return {"ok": True, **answer}

    def _scenes(self, request: Mapping[str, Any]) -> dict[str, Any]:
        del request
        return {"scenes": list_scenes()}

    def _start(self, request: Mapping[str, Any]) -> dict[str, Any]:
        lasts = request.get("for_s")
        if lasts is not None and not float(lasts) > 0:
            raise ConfigError("a scene lasts longer than 0 seconds")
        parameters = {str(key): float(value) for key, value in request.get("with", {}).items()}
        performance = self._stream.begin(
            str(request.get("scene", "")),
            self._now(),
            target=str(request.get("target") or ""),
            lasts_s=None if lasts is None else float(lasts),
            parameters=parameters,
        )
        return {"started": performance.describe()}

    def _stop(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"stopped": self._stream.stop(str(request.get("id")), self._now()).describe()}

    def _repair(self, request: Mapping[str, Any]) -> dict[str, Any]:
        device_id = str(request.get("device"))
        ended = self._stream.repair(device_id, self._now())
        return {
            "repaired": [performance.describe() for performance in ended],
            "goes_on": bool(self._stream.befalling(device_id)),
        }

    def _tell(self, request: Mapping[str, Any]) -> dict[str, Any]:
        del request
        on = [performance.describe() for performance in self._stream.on.values()]
        return {"on": on, **self._status()}


def list_scenes() -> list[dict[str, Any]]:
    """Return what scenes there are, for a person to read; works without a simulator."""
    return [
        {
            "name": scene.name,
            "label": {"zh": scene.label.zh, "en": scene.label.en},
            "about": {"zh": scene.about.zh, "en": scene.about.en},
            "kind": scene.kind,
            "lasts_s": scene.lasts_s,
            "parameters": dict(scene.parameters),
        }
        for scene in SCENES.values()
    ]


@asynccontextmanager
async def open_desk(path: Path, handle: Handle) -> AsyncIterator[None]:
    """Listen on a unix socket, mode 0600, while the context lasts.

    Raises:
        StartError: Another simulator listens there, or the path cannot be.
    """
    listener = _bind(path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ValueError):  # ValueError: a line too long
            while line := await reader.readline():
                writer.write(json.dumps(_answer(handle, line), ensure_ascii=False).encode() + b"\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, sock=listener, limit=_LONGEST_LINE)
    try:
        yield
    finally:
        server.close()
        _remove(path)


def _bind(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise StartError(f"the path of the control socket is too long: {path}")
    if path.exists():
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            raise StartError(f"another simulator listens on {path}; stop it first")
        _remove(path)  # left behind by one that was killed
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {path}: {error.strerror}") from error
    finally:
        os.umask(before)
    return listener


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _answer(handle: Handle, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError:
        return {"ok": False, "error": "a request is one JSON object on one line"}
    if not isinstance(request, dict):
        return {"ok": False, "error": "a request is one JSON object on one line"}
    return handle(request)


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a running simulator, and wait for its answer.

    Args:
        path: Its control socket.
        request: See the module.

    Returns:
        The answer without ``ok``.

    Raises:
        ConfigError: No simulator listens there, or it refused; the sentence says why.
    """
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_ANSWER_S)
            line.connect(str(path))
            line.sendall(json.dumps(request).encode() + b"\n")
            with line.makefile("rb") as reader:
                answer = json.loads(reader.readline() or b"{}")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no simulator answers on {path} ({error}); start one with 'cityhub up --demo'"
            " or 'cityhub simulate run'"
        ) from error
    if not answer.pop("ok", False):
        raise ConfigError(str(answer.get("error", "the simulator hung up")))
    return dict(answer)


def start_scene(
    path: Path,
    scene: str,
    *,
    target: str = "",
    lasts_s: float | None = None,
    parameters: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Begin a scene in a running simulator; errors as :func:`ask`.

    Returns:
        What began: ``id, scene, node, devices, start, end``.
    """
    request = {"do": "start", "scene": scene, "target": target, "for_s": lasts_s}
    answer = ask(path, {**request, "with": dict(parameters or {})})
    return dict(answer["started"])


def stop_scene(path: Path, truth_id: str) -> dict[str, Any]:
    """End a scene before its time; errors as :func:`ask`."""
    return dict(ask(path, {"do": "stop", "id": truth_id})["stopped"])


def repair(path: Path, device_id: str) -> list[dict[str, Any]]:
    """End all scenes at a device, feeder or gateway, as a crew does; errors as :func:`ask`."""
    return list(ask(path, {"do": "repair", "device": device_id})["repaired"])


def goes_on(path: Path, device_id: str) -> bool:
    """Repair a device, and return whether something befalls it that nobody can end."""
    return bool(ask(path, {"do": "repair", "device": device_id})["goes_on"])


def status(path: Path) -> dict[str, Any]:
    """Return which scenes are on, and how the fleet is doing; errors as :func:`ask`."""
    return ask(path, {"do": "status"})
