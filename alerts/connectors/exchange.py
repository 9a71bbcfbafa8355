"""The eight exchange forms of city-management platforms (城管平台交换单), as JSON.

Which message becomes which form, and which field is called what, stands in ``exchange.json``; a
city with other names gives its own in the receiver's options: ``{"forms": {"任务分派单": {"案号":
"data.case_no"}}}`` replaces the fields of that form.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from alerts.outbox import Message

_SHIPPED: Final[Mapping[str, Any]] = json.loads(
    files("alerts.connectors").joinpath("exchange.json").read_text("utf-8")
)
MESSAGES: Final[Mapping[str, str]] = _SHIPPED["messages"]
"""The form each message becomes."""

FORMS: Final[Mapping[str, Mapping[str, str]]] = {
    name: _SHIPPED["common"] | fields for name, fields in _SHIPPED["forms"].items()
}
"""The fields of each form: what it is called there, and its path in our message."""

TAKES: Final = tuple(MESSAGES)


def render(message: Message, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a message as a form; None: no form is meant for it.

    Args:
        message: What to tell.
        options: ``forms`` and ``messages`` of the receiver replace ours, one by one.
    """
    form = {**MESSAGES, **options.get("messages", {})}.get(message.message_type)
    if form is None:
        return None
    fields = options.get("forms", {}).get(form, FORMS.get(form, {}))
    event = message.event
    return {
        "单据类型": form,
        "单据编号": message.key,
        **{name: _at(event, path) for name, path in fields.items()},
    }


def _at(event: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a path.

    >>> _at({"data": {"place": {"lon": 111.7}}}, "data.place.lon")
    111.7
    >>> _at({"data": {"order": None}}, "data.order.order_no")
    """
    found: Any = event
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
