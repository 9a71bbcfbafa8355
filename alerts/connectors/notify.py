"""Notes to people through apprise: DingTalk 钉钉, WeCom 企业微信, Feishu 飞书, e-mail, SMS.

A note is no work order: it says in a few words what happened. apprise is the optional extra
``notify``. Its URLs hold the credentials, so they are secrets and stand in no table.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from alerts.message import CANCELLED, CLOSED, ISSUED, REWORK
from alerts.outbox import Message
from core.errors import ConfigError, DispatchFailedError

TAKES: Final = (ISSUED, REWORK, CANCELLED, CLOSED)

PER_MINUTE: Final = 20.0
"""What robots of DingTalk and WeCom take of one sender, by their makers' pages."""

SCHEMES: Final = frozenset(
    {
        "dingtalk", "wecombot", "feishu", "lark",  # chat
        "mailto", "mailtos",  # e-mail, by the mail server that the URL names
        "twilio", "vonage", "sinch", "clickatell", "bulksms", "d7sms", "msg91",  # SMS
    }
)  # fmt: skip
"""Services with hosts of their own, but for mail. Schemes that post to any host are left out:
they would go around the guard of addresses."""

Send = Callable[[str, str], bool]
"""From a title and a text to whether every target took it; it may block."""

_WORDS: Final = {
    ISSUED: "新任务单",
    REWORK: "返工",
    CANCELLED: "任务单撤回",
    CLOSED: "已结案",
}


class Notify:
    """Tells people.

    Args:
        send: What sends.
        timeout_s: How long it may take.
    """

    def __init__(self, send: Send, *, timeout_s: float) -> None:
        self._send = send
        self._timeout_s = timeout_s

    async def deliver(self, message: Message) -> None:
        """Send a note.

        Raises:
            DispatchFailedError: Not every target took it.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                sent = await asyncio.to_thread(self._send, *note(message))
        except TimeoutError as error:
            raise DispatchFailedError(f"not sent within {self._timeout_s:g} s") from error
        if not sent:
            raise DispatchFailedError("the service did not take the note")


def note(message: Message) -> tuple[str, str]:
    """Return the title and the text of a note."""
    data = message.payload["data"]
    title = (data.get("title") or data["description"])["zh"]
    place = data["place"]["address"] or data["grid"]["name"] or data["component"]["name"]
    lines = [
        data["description"]["zh"],
        f"案件 {data['case_no']}",
        f"地点 {place}" if place else "",
        f"处置单位 {(data['department']['name'] or {}).get('zh', '')}"
        if data["department"]["code"]
        else "",
    ]
    words = _WORDS.get(message.message_type, "案件进展")
    return f"【{words}】{title}", "\n".join(line for line in lines if line)


def open_apprise(urls: Sequence[str]) -> Send:
    """Return what sends to targets.

    Args:
        urls: apprise's URLs of the targets.

    Raises:
        ConfigError: apprise is not installed, or a URL is none it knows or we allow.
    """
    try:
        import apprise  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ConfigError(
            "notifications need the extra 'notify': pip install cityhub[notify]"
        ) from error
    targets = apprise.Apprise()
    for url in urls:
        scheme = urlsplit(url).scheme.lower()
        if scheme not in SCHEMES:
            raise ConfigError(
                f"notifications do not go to {scheme}://: {', '.join(sorted(SCHEMES))}"
            )
        if not targets.add(url):
            raise ConfigError(f"apprise cannot read the {scheme}:// URL")
    if not len(targets):
        raise ConfigError("a receiver of notifications needs at least one URL in its secret")

    def send(title: str, text: str) -> bool:
        return bool(targets.notify(title=title, body=text))

    return send
