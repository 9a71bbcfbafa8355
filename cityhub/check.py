"""``cityhub up --check``: proves on this machine that a theft becomes a work order and is seen.

The whole hub runs with its demo parts on free ports and a throw-away folder, whatever the settings
of this machine say. The first step that does not come names its stage.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import psycopg

from cityhub.hub import Hub
from cityhub.theft import Step, Theft
from cityhub.up import cancel_on_signal
from core.errors import CityhubError
from core.settings import Settings, load_settings

STEP_S: Final = 15.0
"""How long each step may take, in seconds: far more than it needs on a busy machine."""

_SCALE: Final = 0.1
_KEPT: Final = ("CITYHUB_EMBEDDED_POSTGRES_HOME", "CITYHUB_EMBEDDED_NATS_SERVER")
_LOG_LINES: Final = 5


class StageError(CityhubError):
    """A stage did not do its part.

    Attributes:
        stage: Which, of :data:`cityhub.hub.STAGES`, or ``broker``.
    """

    def __init__(self, stage: str, words: str) -> None:
        super().__init__(f"stage {stage}: {words}")
        self.stage = stage


def check(without: Collection[str], *, step_s: float = STEP_S) -> int:
    """Run the check; return the exit code.

    Args:
        without: Stages to leave out, of :data:`cityhub.hub.STAGES`.
        step_s: How long each step may take, in seconds.
    """
    try:
        return asyncio.run(_run(without, step_s))
    except asyncio.CancelledError:
        return 130


async def _run(without: Collection[str], step_s: float) -> int:
    folder = Path(tempfile.mkdtemp(prefix="cityhub-check-", dir="/var/tmp"))
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CITYHUB_") or name in _KEPT
    }
    hub = Hub(
        _settings(folder, environ),
        demo=True,
        without=without,
        say=_say,
        environ=environ,
        scale=_SCALE,
        life=False,
    )
    cancel_on_signal()
    try:
        await hub.start()
        await _follow_theft(hub, step_s)
    except StageError as error:
        _say(f"FAILED  {error}")
        _say(_last_words(folder, error.stage))
        return 1
    finally:
        hub.stop()
        shutil.rmtree(folder, ignore_errors=True)
    _say("every step worked; all that was started is stopped")
    return 0


def _settings(folder: Path, environ: Mapping[str, str]) -> Settings:
    ours = {
        "CITYHUB_DATA_FOLDER": str(folder),
        "CITYHUB_API_PORT": "0",
        "CITYHUB_EMBEDDED_MQTT_PORT": "0",
    }
    return load_settings(environ={**environ, **ours})


async def _follow_theft(hub: Hub, step_s: float) -> None:
    keeping = asyncio.create_task(hub.keep())
    try:
        async with await psycopg.AsyncConnection.connect(hub.database_url, autocommit=True) as conn:
            theft = Theft(hub, conn)
            await _follow([*theft.steps, *theft.aside], step_s)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _follow(steps: Sequence[Step], step_s: float) -> None:
    """Wait for each step in turn and print when it came.

    Raises:
        StageError: One did not come, or not as it was sent.
    """
    start = last = time.monotonic()
    for step in steps:
        try:
            async with asyncio.timeout(step_s):
                words = await step.arrive()
        except TimeoutError as error:
            raise StageError(step.stage, f"{step.missing} within {step_s:g} s") from error
        except (CityhubError, OSError, asyncio.IncompleteReadError) as error:
            raise StageError(step.stage, str(error)) from error
        now = time.monotonic()
        _say(f"{now - start:7.3f} s  (+{now - last:.3f})  {step.stage:<8}  {words}")
        last = now


def _last_words(folder: Path, stage: str) -> str:
    """Return the end of the log of a stage, since the folder will be gone."""
    log = folder / "logs" / f"{'ingest' if stage == 'detect' else stage}.log"
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return f"it has no log: it did not run ({log.name})"
    return "\n".join(["the end of its log:", *lines[-_LOG_LINES:]])


def _say(words: str) -> None:
    print(words, flush=True)
