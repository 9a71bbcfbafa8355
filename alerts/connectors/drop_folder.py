"""A drop folder (交换目录): one file a message, there whole or not at all."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alerts.connectors.forms import Body, Render
from alerts.outbox import Message
from core.errors import DispatchFailedError


class DropFolder:
    """Writes messages into a folder that another program empties.

    Args:
        folder: Where to; it must exist, since one that is not mounted must not be made.
        render: The form of a message.
        options: The receiver's, for the form.
    """

    def __init__(self, folder: Path, render: Render, options: Mapping[str, Any]) -> None:
        self._folder = folder
        self._render = render
        self._options = options

    async def deliver(self, message: Message) -> None:
        """Write a message to ``<key>.json`` or ``.xml``, over one of the same key.

        Raises:
            DispatchFailedError: It could not be written.
        """
        body = self._render(message, self._options)
        if body is None:
            return
        try:
            await asyncio.to_thread(self._write, message.key, body)
        except OSError as error:
            raise DispatchFailedError(f"not written: {error}") from error

    def _write(self, key: str, body: Body) -> None:
        path = self._folder / f"{key}{body.suffix}"
        part = path.with_name(f".{path.name}.part")  # readers pass over names with a dot
        with part.open("wb") as out:
            out.write(body.content)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # or a loss of power could take the name back
        finally:
            os.close(folder)
