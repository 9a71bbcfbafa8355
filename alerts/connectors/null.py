"""The null connector: drills and replays end here, and nothing leaves the hub."""

from alerts.outbox import Message


class Null:
    """Takes every message, and keeps none."""

    async def deliver(self, message: Message) -> None:
        """Take a message."""
        del message
