"""Signatures of webhooks after Standard Webhooks, from the receiver's side.

``webhook-signature: v1,<base64 of HMAC-SHA256(secret, "id.timestamp.body")>``. Written apart from
the sender in ``alerts``, so that each is a check of the other.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE_S: Final = 300
"""How far a sender's clock may be from ours, in seconds."""


class SignatureError(Exception):
    """A delivery is not from whom it says, or not from now; the message says why."""


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``.

    >>> sign("key", "C1-1", 1_700_000_000, b"{}")
    'v1,qd/o/NMNquscL1r8/k8M6SPSBDps21xApggVKDRoKMY='
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def check(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Return the id of a delivery that is signed by who knows the secret, just now.

    Args:
        secret: What both sides know.
        headers: By lower-case name.
        body: As it came.
        now: Seconds since 1970 UTC.

    Raises:
        SignatureError: It must not be believed.
    """
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not headers.get(name)]
    if missing:
        raise SignatureError(f"header {missing[0]} is missing")
    webhook_id, stamp = headers[ID], headers[TIMESTAMP]
    if not (stamp.isascii() and stamp.isdigit()) or abs(now - int(stamp)) > TOLERANCE_S:
        raise SignatureError(f"{TIMESTAMP} {stamp[:20]} is not within {TOLERANCE_S} s of now")
    wanted = sign(secret, webhook_id, int(stamp), body).encode()
    given = headers[SIGNATURE].split(" ")  # several while a secret is being changed
    if not any(hmac.compare_digest(wanted, each.encode()) for each in given):
        raise SignatureError("the signature is of another secret or another body")
    return webhook_id
