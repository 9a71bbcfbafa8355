"""How a message looks to each family of receivers: pure functions from a message to bytes.

What is sent and how it travels are kept apart: every form goes by signed POST as well as into a
drop folder.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from alerts.connectors import alertmanager, cap, exchange
from alerts.outbox import Message


@dataclass(frozen=True, slots=True)
class Body:
    """What goes on the wire.

    Attributes:
        media_type: Its type.
        content: Its bytes.
        suffix: How a file of it is called.
    """

    media_type: str
    content: bytes
    suffix: str = ".json"


Render = Callable[[Message, Mapping[str, Any]], Body | None]
"""A form: from a message and the receiver's options to bytes; None: nothing to be said."""


def cloudevent(message: Message, options: Mapping[str, Any]) -> Body:
    """Return the message as it is: a CloudEvent 1.0 in structured JSON."""
    del options
    return Body("application/cloudevents+json; charset=utf-8", _dump(message.event))


def _cap(message: Message, options: Mapping[str, Any]) -> Body | None:
    text = cap.render(message, options)
    return None if text is None else Body("application/cap+xml; charset=utf-8", text, ".xml")


def _alertmanager(message: Message, options: Mapping[str, Any]) -> Body:
    return Body("application/json", _dump(alertmanager.render(message, options)))


def _exchange(message: Message, options: Mapping[str, Any]) -> Body | None:
    form = exchange.render(message, options)
    return None if form is None else Body("application/json; charset=utf-8", _dump(form))


FORMS: Final[Mapping[str, Render]] = {
    "webhook": cloudevent,
    "exchange": _exchange,
    "cap": _cap,
    "alertmanager": _alertmanager,
}
"""Each form by the kind of receiver that takes it."""


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
