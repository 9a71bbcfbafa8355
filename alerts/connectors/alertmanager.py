"""The payload of Alertmanager's webhook, version 4, which tools for people on call understand."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from alerts.message import CANCELLED, CLOSED, ISSUED, REWORK
from alerts.outbox import Message

TAKES: Final = (ISSUED, REWORK, CANCELLED, CLOSED)
NEVER: Final = "0001-01-01T00:00:00Z"
"""``endsAt`` of an alert that fires: Go's zero time."""

_ENDS: Final = frozenset({CANCELLED, CLOSED})


def render(message: Message, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as one group with one alert; a case is a group, so that its end finds it.

    Args:
        message: What to tell.
        options: ``receiver`` (the name it is told by) and ``external_url`` of the receiver.
    """
    data, at = message.payload["data"], message.payload["time"]
    seen = data.get("alarm") or {}
    status = "resolved" if message.message_type in _ENDS else "firing"
    labels = {
        "alertname": seen.get("rule_id") or f"case_{data['class_code']}",
        "severity": data["severity"],
        "case_no": data["case_no"],
        "class_code": data["class_code"],
        "device": seen.get("device_id") or "",
        "grid": data["grid"]["code"] or "",
        "department": data["department"]["code"] or "",
        "city": message.payload["source"],
    }
    labels = {name: value for name, value in labels.items() if value}
    title = data.get("title") or data["description"]
    annotations = {
        "summary": title["zh"],
        "description": data["description"]["zh"],
        "summary_en": title["en"],
        "description_en": data["description"]["en"],
    }
    url = str(options.get("external_url", ""))
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": seen.get("started_at") or (data.get("order") or {}).get("issued_at") or at,
        "endsAt": at if status == "resolved" else NEVER,
        "generatorURL": f"{url}/cases/{data['case_no']}" if url else "",
        "fingerprint": hashlib.sha256(data["case_no"].encode()).hexdigest()[:16],
    }
    return {
        "version": "4",
        "groupKey": f'{{}}:{{case_no="{data["case_no"]}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": str(options.get("receiver", "cityhub")),
        "groupLabels": {"case_no": data["case_no"]},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": url,
        "alerts": [alert],
    }
