"""Warnings after CAP 1.2 (OASIS Common Alerting Protocol).

The order of elements is the schema's. A first message is an Alert; what follows refers to all
before it: rework is an Update, and an order that is over or withdrawn is a Cancel.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring
from zoneinfo import ZoneInfo

from alerts.message import CANCELLED, CLOSED, ISSUED, REWORK
from alerts.outbox import Message

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
TAKES: Final = (ISSUED, REWORK, CANCELLED, CLOSED)
"""The messages that are warnings, or end one."""

RADIUS_KM: Final = 0.1
"""Radius of the circle around the place, which is a point; ours."""

_ENDS: Final = frozenset({CANCELLED, CLOSED})
_SEVERITY: Final[Mapping[str, tuple[str, str]]] = {
    # our colour: CAP severity, CAP urgency
    "red": ("Extreme", "Immediate"),
    "orange": ("Severe", "Expected"),
    "yellow": ("Moderate", "Future"),
    "blue": ("Minor", "Unknown"),
}
_FORBIDDEN: Final = str.maketrans(dict.fromkeys(" ,<&", "_"))
"""Not allowed in identifiers and senders."""


def render(message: Message, options: Mapping[str, Any]) -> bytes | None:
    """Return a message as CAP 1.2.

    Args:
        message: What to tell.
        options: ``time_zone`` (IANA name), ``sender``, ``sender_name``, ``scope``, ``restriction``,
            ``category`` and ``status`` (``Actual``, ``Exercise``, ``Test``) of the receiver.

    Returns:
        The document in UTF-8; None: it ends a warning that was never given.
    """
    ends = message.message_type in _ENDS
    if ends and not message.earlier:
        return None
    zone = ZoneInfo(options.get("time_zone", "Asia/Shanghai"))
    payload = message.payload
    sender = str(options.get("sender") or payload["source"]).translate(_FORBIDDEN)
    alert = Element("alert", xmlns=NAMESPACE)
    _add(alert, "identifier", message.key.translate(_FORBIDDEN))
    _add(alert, "sender", sender)
    _add(alert, "sent", moment(payload["time"], zone))
    _add(alert, "status", options.get("status", "Actual"))
    _add(alert, "msgType", "Cancel" if ends else "Update" if message.earlier else "Alert")
    scope = options.get("scope", "Restricted")
    _add(alert, "scope", scope)
    if scope == "Restricted":
        _add(alert, "restriction", options.get("restriction", "城市管理部门 city departments"))
    if message.earlier:
        triplets = (
            f"{sender},{each['key'].translate(_FORBIDDEN)},{moment(each['time'], zone)}"
            for each in message.earlier
        )
        _add(alert, "references", " ".join(triplets))
    for code in ("zh-CN", "en-US"):
        _info(alert, message, options, code=code, zone=zone)
    text: bytes = tostring(alert, encoding="utf-8", xml_declaration=True)
    return text


def moment(at: str, zone: ZoneInfo) -> str:
    """Return a time as CAP wants it: whole seconds and an offset, never ``Z``.

    >>> moment("2026-11-21T04:00:00.5+00:00", ZoneInfo("Asia/Shanghai"))
    '2026-11-21T12:00:00+08:00'
    >>> moment("2026-11-21T04:00:00+00:00", ZoneInfo("UTC"))
    '2026-11-21T04:00:00-00:00'
    """
    text = datetime.fromisoformat(at).astimezone(zone).isoformat(timespec="seconds")
    return text.replace("+00:00", "-00:00")


def _info(
    alert: Element,
    message: Message,
    options: Mapping[str, Any],
    *,
    code: str,
    zone: ZoneInfo,
) -> None:
    language = code[:2]
    payload, data = message.payload, message.payload["data"]
    severity, urgency = _SEVERITY.get(data["severity"], ("Unknown", "Unknown"))
    seen = data.get("alarm") or {}
    title = (data.get("title") or data["description"])[language]
    info = SubElement(alert, "info")
    _add(info, "language", code)
    _add(info, "category", options.get("category", "Infra"))
    _add(info, "event", title)
    if message.message_type in _ENDS:
        _add(info, "responseType", "AllClear")
        urgency = "Past"
    _add(info, "urgency", urgency)
    _add(info, "severity", severity)
    _add(info, "certainty", "Possible" if seen.get("unconfirmed") else "Observed")
    _pair(info, "eventCode", "cityhub:class_code", data["class_code"])
    _add(info, "effective", moment(payload["time"], zone))
    if seen.get("started_at"):
        _add(info, "onset", moment(seen["started_at"], zone))
    due = data["deadlines"]["handle_due_at"]
    if due:
        _add(info, "expires", moment(due, zone))
    _add(info, "senderName", options.get("sender_name") or payload["source"])
    _add(info, "headline", title[:160])  # longer ones are cut by receivers
    _add(info, "description", data["description"][language])
    order = data.get("order") or {}
    if order.get("instruction"):
        _add(info, "instruction", order["instruction"])
    _pair(info, "parameter", "cityhub:severity", data["severity"])
    _pair(info, "parameter", "cityhub:case_no", data["case_no"])
    _area(info, data)


def _area(info: Element, data: Mapping[str, Any]) -> None:
    place, grid = data["place"], data["grid"]
    area = SubElement(info, "area")
    names = (place["address"], grid["name"], data["component"]["name"], grid["code"])
    _add(area, "areaDesc", next((name for name in names if name), "-"))
    if place["lon"] is not None and place["lat"] is not None:
        _add(area, "circle", f"{place['lat']:.6f},{place['lon']:.6f} {RADIUS_KM:g}")
    if grid["code"]:
        _pair(area, "geocode", "cityhub:grid_code", grid["code"])


def _pair(parent: Element, name: str, key: str, value: str) -> None:
    pair = SubElement(parent, name)
    _add(pair, "valueName", key)
    _add(pair, "value", value)


def _add(parent: Element, name: str, text: str) -> None:
    # XML 1.0 has no place for control characters, escaped or not
    SubElement(parent, name).text = "".join(
        letter if letter.isprintable() or letter in "\n\t" else " " for letter in str(text)
    )
