"""Callbacks (回调): what receivers tell us of orders: accepted, done, or given back.

Each is kept before it is heeded, so none is lost; one id has one effect, since the mark that it
was applied commits with what it did. One that contradicts the case as it stands is parked with the
reason, and tried again whenever another of the same case was applied: so an order of arrival that
the network mixed up sorts itself out. One that a later one has overtaken stays parked.
"""

import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from psycopg.types.json import Jsonb

from alerts.actions import StaffActions
from alerts.audit import Act
from alerts.connectors.webhook import NAME, sign
from alerts.dossier import Dossier
from alerts.office import Office
from alerts.receivers import Secrets, find_receiver
from core.clock import Clock
from core.db import Pool, transaction
from core.errors import ConfigError, ConflictError, NotFoundError
from core.model import Text

TOLERANCE_S: Final = 300
"""How far a sender's clock may be from ours, in seconds."""

_KEEP: Final = """
INSERT INTO hub.callback (receiver, external_key, seq, case_no, action, body, received_at)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (receiver, external_key) DO NOTHING
RETURNING callback_id
"""
_ONE: Final = """
SELECT callback_id, state, reason_zh, reason_en, seq, case_no, action FROM hub.callback
 WHERE receiver = %s AND external_key = %s
"""
_TOLD: Final = "SELECT EXISTS (SELECT 1 FROM hub.outbox WHERE connector = %s AND case_no = %s)"
_PARKED: Final = """
SELECT callback_id, seq, body,
       (SELECT max(seq) FROM hub.callback
         WHERE receiver = %(receiver)s AND case_no = %(case_no)s AND state = 'applied')
  FROM hub.callback
 WHERE receiver = %(receiver)s AND case_no = %(case_no)s AND state = 'parked'
 ORDER BY seq, callback_id
"""
_PARK: Final = """
UPDATE hub.callback SET reason_zh = %s, reason_en = %s WHERE callback_id = %s AND state = 'parked'
"""
_APPLIED: Final = """
UPDATE hub.callback SET state = 'applied', applied_at = %s, reason_zh = NULL, reason_en = NULL
 WHERE callback_id = %s AND state = 'parked'
"""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver says.

    Attributes:
        key: Its id of this message.
        seq: Its order within the case; a later one overtakes those before.
        case_no: Our number of the case.
        action: What happened there.
        actor: Who did it there.
        note: What was done (feedback), or why not (return).
    """

    key: str = ""
    seq: int
    case_no: str
    action: Literal["accept", "feedback", "return"]
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a callback.

    Attributes:
        status: As HTTP counts.
        state: ``applied`` or ``parked``; empty: it was refused.
        reason: Why it is parked or refused.
        duplicate: It had come before.
    """

    status: int
    state: str = ""
    reason: Text | None = None
    duplicate: bool = False


class _Applying(StaffActions):
    """Acts for a receiver; the mark that a callback was applied commits with the act."""

    def __init__(self, pool: Pool, clock: Clock, office: Office, callback_id: int) -> None:
        super().__init__(pool, clock, office.connector, office=office)
        self._callback_id = callback_id

    @asynccontextmanager
    async def _on_case(self, act: Act, version: int | None) -> AsyncIterator[Dossier]:
        async with super()._on_case(act, version) as dossier:
            marked = await dossier.conn.execute(_APPLIED, [dossier.now, self._callback_id])
            if marked.rowcount == 0:
                raise ConflictError(Text("此回调已处理", "this callback was applied already"))
            yield dossier


class CallbackDesk:
    """Where receivers are heard.

    Args:
        pool: The database.
        clock: The hub's time.
        secrets: Where the receivers' secrets come from.
        office: The command centre's particulars.
    """

    def __init__(
        self, pool: Pool, clock: Clock, *, secrets: Secrets, office: Office | None = None
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._secrets = secrets
        self._office = office or Office()

    async def receive(self, receiver: str, headers: Mapping[str, str], body: bytes) -> Receipt:
        """Take a callback as it came over HTTP.

        Args:
            receiver: Who says to be calling.
            headers: By lower-case name.
            body: As it came.
        """
        key = headers.get("webhook-id", "")
        if not await self._is_signed(receiver, headers, body):
            return Receipt(401, reason=Text("签名无效。", "The signature is not valid."))
        try:
            said = msgspec.json.decode(body, type=Callback)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Receipt(400, reason=Text(f"无法读取：{error}", f"It cannot be read: {error}"))
        if "\0" in body.decode("utf-8", "replace") or "\\u0000" in body.decode("utf-8", "replace"):
            return Receipt(400, reason=Text("含有空字符。", "It holds a null character."))
        if not (0 < len(key) <= 200 and key.isprintable() and 0 < len(said.case_no) <= 64):  # noqa: PLR2004
            return Receipt(400, reason=Text("编号无效。", "An id is not valid."))
        if not 0 < said.seq < 1 << 63:
            return Receipt(400, reason=Text("seq 应为正整数。", "seq must be positive."))
        return await self.take(receiver, msgspec.structs.replace(said, key=key))

    async def take(self, receiver: str, said: Callback) -> Receipt:
        """Take a callback that is known to be the receiver's."""
        now = self._clock.now()
        body = Jsonb(msgspec.to_builtins(said))
        async with transaction(self._pool) as conn:
            row = await (
                await conn.execute(
                    _KEEP,
                    [receiver, said.key, said.seq, said.case_no, said.action, body, now],
                )
            ).fetchone()
        known = await self._known(receiver, said.key)
        if row is None and (known["seq"], known["case_no"], known["action"]) != (
            said.seq,
            said.case_no,
            said.action,
        ):
            return Receipt(
                422, reason=Text("此编号已用于其他消息。", "This id was another message's.")
            )
        if known["state"] == "parked":
            await self.settle(receiver, said.case_no)
            known = await self._known(receiver, said.key)
        reason = Text(known["reason_zh"], known["reason_en"]) if known["reason_zh"] else None
        status = 200 if known["state"] == "applied" else 202
        return Receipt(status, known["state"], reason, duplicate=row is None)

    async def settle(self, receiver: str, case_no: str) -> int:
        """Apply what is parked of a case, as far as the case as it stands allows.

        Returns:
            How many were applied.
        """
        applied = 0
        while await self._settle_one(receiver, case_no):
            applied += 1
        return applied

    async def _settle_one(self, receiver: str, case_no: str) -> bool:
        """Apply the first that can be; park the others, each with its reason."""
        async with transaction(self._pool) as conn:
            told = await (await conn.execute(_TOLD, [receiver, case_no])).fetchone()
            cursor = await conn.execute(_PARKED, {"receiver": receiver, "case_no": case_no})
            rows = await cursor.fetchall()
        for callback_id, seq, body, newest in rows:
            reason: Text | None
            if not (told and told[0]):
                # nor is it told whether there is such a case
                reason = Text("从未向其派发此案件", "it was never told of such a case")
            elif newest is not None and seq <= newest:
                reason = Text("已有更新的回调", f"overtaken by number {newest}")
            else:
                reason = await self._apply(receiver, callback_id, body)
                if reason is None:
                    return True
            async with transaction(self._pool) as conn:
                await conn.execute(_PARK, [reason.zh, reason.en, callback_id])
        return False

    async def _apply(self, receiver: str, callback_id: int, body: Mapping[str, Any]) -> Text | None:
        """Do what a callback says; return why not."""
        said = msgspec.convert(body, type=Callback)
        staff = _Applying(self._pool, self._clock, self._office, callback_id)
        actor = f"{receiver}/{said.actor}"[:64].rstrip("/")
        try:
            if said.action == "accept":
                await staff.sign(said.case_no, actor=actor)
            elif said.action == "feedback":
                await staff.feedback(said.case_no, actor=actor, note=said.note)
            else:
                await staff.return_(said.case_no, actor=actor, reason=said.note)
        except (ConflictError, NotFoundError) as error:
            return error.text
        return None

    async def _known(self, receiver: str, key: str) -> dict[str, Any]:
        async with transaction(self._pool) as conn:
            cursor = await conn.execute(_ONE, [receiver, key])
            row = await cursor.fetchone()
        assert row is not None  # noqa: S101 - kept before, and never deleted
        names = ("callback_id", "state", "reason_zh", "reason_en", "seq", "case_no", "action")
        return dict(zip(names, row, strict=True))

    async def _is_signed(self, receiver: str, headers: Mapping[str, str], body: bytes) -> bool:
        secret = await self._secret(receiver)
        stamp = headers.get("webhook-timestamp", "")
        if secret is None or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):  # noqa: PLR2004
            return False
        if abs(self._clock.now().timestamp() - int(stamp)) > TOLERANCE_S:
            return False
        try:
            wanted = sign(secret, headers.get("webhook-id", ""), int(stamp), body).encode()
        except UnicodeEncodeError:
            return False
        given = headers.get("webhook-signature", "").split(" ")
        # several while a secret is being changed
        return any(hmac.compare_digest(wanted, each.encode("utf-8", "replace")) for each in given)

    async def _secret(self, receiver: str) -> str | None:
        if receiver == NAME:
            return self._secrets.main
        try:
            async with transaction(self._pool) as conn:
                found = await find_receiver(conn, receiver)
            return None if found.disabled else self._secrets.of(found)
        except (NotFoundError, ConfigError):
            return None
