"""The NATS protocol as far as the hub reads a log with it, without any I/O.

A general client makes objects, futures and parsed headers of each message, 27 µs of CPU in all; the
hub wants columns. So this is the same kind of loop as :mod:`ingest.wire`: subject, bytes and reply
subject of each delivery, the headers skipped by their length.

Source: docs.nats.io, Client Protocol, and ADR-4 (headers), ADR-15 (subjects of acknowledgement).
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from ingest.wire import WireError

PONG: Final = b"PONG\r\n"
PING: Final = b"PING\r\n"
DATA_SID: Final = b"1"
ANSWER_SID: Final = b"2"
STREAM: Final = "HUB"
TOPIC_PREFIX: Final = b"$MQTT.msgs."
MAX_MESSAGE: Final = 1 << 26
"""Bytes: no NATS allows more in a message."""

_MAX_LINE: Final = 1 << 16
_H: Final = 0x48
_M: Final = 0x4D
_CR: Final = 0x0D
_STATUS_AT: Final = 8  # behind "NATS/1.0": a line end, or a status
_SLASH: Final = 0x2F
_DOT: Final = 0x2E
_ACK_FIELDS: Final = (9, 12)  # without and with domain and account, plus a random one


@dataclass(slots=True)
class Deliveries:
    """Messages of the log that nobody has taken yet, as columns of one length.

    Attributes:
        subjects: Where each message was published.
        payloads: Its bytes, without headers.
        replies: Its subject of acknowledgement, which tells its place; see :func:`read_place`.
    """

    subjects: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.payloads)

    def cut(self, count: int) -> "Deliveries":
        """Take the first so many messages away and return them."""
        if count >= len(self.payloads):
            first = Deliveries(self.subjects, self.payloads, self.replies)
            self.subjects, self.payloads, self.replies = [], [], []
            return first
        first = Deliveries(self.subjects[:count], self.payloads[:count], self.replies[:count])
        del self.subjects[:count], self.payloads[:count], self.replies[:count]
        return first


@dataclass(frozen=True, slots=True)
class Note:
    """Anything but a message of the log.

    Attributes:
        verb: ``INFO``, ``PING``, ``PONG``, ``-ERR``; ``STATUS`` for a word about a pull, ``ANSWER``
            for an answer to a request.
        text: The rest of the line; of a status its code, words and headers; of an answer its body.
    """

    verb: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a delivery stands.

    Attributes:
        stream: Its sequence number in the log.
        consumer: Which delivery of this consumer it is, from 1.
    """

    stream: int
    consumer: int


def take_deliveries(data: bytes, into: Deliveries) -> tuple[int, list[Note]]:
    """Read everything complete at the start of some bytes.

    Returns:
        How many bytes are done with, and all that is no message of the log.

    Raises:
        WireError: A line or a length cannot be.
    """
    notes: list[Note] = []
    add_subject, add_payload = into.subjects.append, into.payloads.append
    add_reply = into.replies.append
    find, start, size = data.find, 0, len(data)
    while start < size:
        line_end = find(b"\r\n", start)
        if line_end < 0:
            if size - start > _MAX_LINE:
                raise WireError("a line without end")
            break
        first = data[start]
        if first in (_H, _M):
            words = data[start:line_end].split()
            head, total = _read_lengths(words)
            body = line_end + 2
            end = body + total
            if end + 2 > size:
                break
            if words[2] != DATA_SID:
                notes.append(Note("ANSWER", data[body + head : end]))
            elif head and data[body + _STATUS_AT] != _CR:
                notes.append(Note("STATUS", data[body + _STATUS_AT + 1 : body + head]))
            else:
                add_subject(words[1])
                add_reply(words[3])
                add_payload(data[body + head : end])
            start = end + 2
        else:
            verb, _, text = data[start:line_end].partition(b" ")
            notes.append(Note(verb.decode("ascii", "replace").upper(), text))
            start = line_end + 2
    return start, notes


def _read_lengths(words: list[bytes]) -> tuple[int, int]:
    """Return the lengths of headers and of all, from ``[H]MSG subject sid [reply] [head] total``.

    A delivery always has a reply subject; a status or an answer may have none.
    """
    try:
        total = int(words[-1])
        head = int(words[-2]) if words[0] == b"HMSG" else 0
    except (IndexError, ValueError) as error:
        raise WireError("a message without a length") from error
    least = 5 if words[0] == b"HMSG" else 4
    if not least <= len(words) <= least + 1:
        raise WireError("a message line of the wrong form")
    if not 0 <= head <= total <= MAX_MESSAGE:
        raise WireError(f"a message claims {total} bytes")
    return head, total


def read_place(reply: bytes) -> Place:
    """Read a subject of acknowledgement.

    >>> read_place(b"$JS.ACK.HUB.reader.1.42.7.1760000000000000000.0")
    Place(stream=42, consumer=7)

    Raises:
        WireError: It is none.
    """
    words = reply.split(b".")
    at = 5 if len(words) == _ACK_FIELDS[0] else 7
    try:
        return Place(int(words[at]), int(words[at + 1]))
    except (IndexError, ValueError) as error:
        raise WireError(f"a delivery without its place: {reply!r}") from error


def read_times(replies: list[bytes]) -> list[int]:
    """Return when the server stored each delivery, by its own clock, microseconds since 1970 UTC.

    >>> read_times([b"$JS.ACK.HUB.reader.1.42.7.1760000000000000999.0"])
    [1760000000000000]

    Raises:
        WireError: A subject of acknowledgement tells none.
    """
    behind = 2 if replies and replies[0].count(b".") == _ACK_FIELDS[0] - 1 else 3
    try:
        return [int(reply.rsplit(b".", behind)[1]) // 1000 for reply in replies]
    except (IndexError, ValueError) as error:
        raise WireError("a delivery without its time") from error


def topic_of(subject: bytes) -> bytes:
    """Return the MQTT topic of a subject of the log.

    NATS writes a level's end as a dot, an empty level as ``/`` and a dot of the topic as ``//``.

    >>> topic_of(b"$MQTT.msgs.hub.MH-0001.telemetry"), topic_of(b"hub.a//b./.x")
    (b'hub/MH-0001/telemetry', b'hub/a.b//x')
    """
    subject = subject.removeprefix(TOPIC_PREFIX)
    if _SLASH not in subject:
        return subject.replace(b".", b"/")
    topic, at, end = bytearray(), 0, len(subject)
    while at < end:
        byte = subject[at]
        at += 1
        if byte == _DOT:
            topic.append(_SLASH)
        elif byte != _SLASH:
            topic.append(byte)
        elif at < end and subject[at] in (_DOT, _SLASH):
            topic.append(_SLASH if subject[at] == _DOT else _DOT)
            at += 1
    return bytes(topic)


def connect(username: str | None, password: str | None) -> bytes:
    """Return CONNECT, and a PING whose PONG says that the login was taken."""
    options: dict[str, Any] = {
        "verbose": False,
        "pedantic": False,
        "headers": True,
        "no_responders": True,
        "protocol": 1,
        "lang": "python",
        "version": "cityhub",
        "name": "cityhub ingest",
    }
    if password is not None:
        options |= {"user": username or "", "pass": password}
    elif username is not None:
        options["auth_token"] = username
    return b"CONNECT " + json.dumps(options).encode() + b"\r\n" + PING


def subscribe(subject: str, sid: bytes) -> bytes:
    """Return a SUB."""
    return b"SUB " + subject.encode() + b" " + sid + b"\r\n"


def publish(subject: str, reply: str, body: bytes) -> bytes:
    """Return a PUB whose answer goes to a reply subject."""
    return f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n"
