"""What receivers may tell the hub, as the API calls it.

``alerts`` implements it and ``cityhub`` injects it; the API knows only this shape.
"""

from collections.abc import Mapping
from typing import Protocol

from core.model import Text


class Receipt(Protocol):
    """What became of a callback."""

    @property
    def status(self) -> int:
        """As HTTP counts."""

    @property
    def state(self) -> str:
        """``applied`` or ``parked``; empty: it was refused."""

    @property
    def reason(self) -> Text | None:
        """Why it is parked or refused."""

    @property
    def duplicate(self) -> bool:
        """Whether it had come before."""


class Callbacks(Protocol):
    """Where receivers are heard."""

    async def receive(self, receiver: str, headers: Mapping[str, str], body: bytes) -> Receipt:
        """Take a callback as it came: check who sends it, keep it, and heed it once."""
