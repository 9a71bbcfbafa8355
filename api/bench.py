"""What staff can do to payloads in quarantine, as the API calls it.

``ingest`` implements it and ``cityhub`` injects it; the API knows only this shape. All answers are
JSON-ready. Each change is noted in ``audit``; what cannot be done to a message stands in
``refused`` of the answer, since one call may name many.
"""

from typing import Any, Protocol

Facts = dict[str, Any]


class Bench(Protocol):
    """The quarantine bench (隔离台)."""

    async def groups(self, *, limit: int = 100) -> list[Facts]:
        """Return the open messages by reason, maker, kind, model and firmware."""

    async def compare(self, quarantine_id: int) -> Facts:
        """Return a payload beside the thing model, with what differs marked."""

    async def attempt(self, quarantine_id: int, *, mapping: Any = None) -> list[Facts]:
        """Return what a message would become with a mapping; nothing is written."""

    async def redrive(self, *, actor: str, mapping: Any = None, **chosen: Any) -> Facts:
        """Take messages up again (重新处理), as history."""

    async def discard(self, *, actor: str, reason: str, **chosen: Any) -> Facts:
        """Settle messages as worth nothing (废弃)."""
