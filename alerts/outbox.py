"""The outbox (发件箱): what must reach other systems, committed with the change it tells of.

Messages of one case leave strictly in order; a case whose message is dead waits for a person, and
holds up no other case. A lease keeps two dispatchers apart; one that died gives it up by the clock.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, Protocol

from psycopg import sql
from psycopg.types.json import Jsonb

from alerts.journal import Entry, append
from alerts.message import MAIN
from alerts.rows import select
from core.db import Connection, Pool, transaction
from core.errors import ConflictError, NotFoundError
from core.model import Text

FIRST_RETRY_S: Final = 5.0
LAST_RETRY_S: Final = 900.0
LEASE_S: Final = 60.0

NULL: Final = "null"
"""Where drills go: it is in no one's hands, so nothing leaves the hub."""

DRILL_TENANT: Final = 2
"""The tenant of drills; no receiver is told of its cases."""

_ADD: Final = """
INSERT INTO hub.outbox
       (connector, tenant_id, case_no, seq, message_type, payload, created_at, due_at)
SELECT out.name, c.tenant_id, %(case_no)s,
       coalesce((SELECT max(seq) FROM hub.outbox AS o
                  WHERE o.connector = out.name AND o.case_no = %(case_no)s), 0) + 1,
       %(type)s, %(payload)s, %(at)s, %(at)s
  FROM hub.case AS c,
       LATERAL (SELECT %(null)s::text WHERE c.tenant_id = %(drill)s
                UNION
                SELECT %(connector)s::text
                 WHERE c.tenant_id <> %(drill)s AND %(connector)s::text IS NOT NULL AND %(main)s
                UNION
                SELECT r.name FROM hub.receiver AS r
                 WHERE c.tenant_id <> %(drill)s AND NOT r.disabled AND %(type)s = ANY (r.takes)
                   AND (r.least IS NULL OR c.severity >= r.least)) AS out (name)
 WHERE c.case_no = %(case_no)s
"""
_HEARD: Final = "SELECT EXISTS (SELECT 1 FROM hub.receiver WHERE NOT disabled AND %s = ANY (takes))"
_LEASE: Final = sql.SQL("""
UPDATE hub.outbox AS o
   SET state = 'sending', leased_until = %(until)s, attempts = attempts + 1,
       first_tried_at = coalesce(first_tried_at, %(now)s)
  FROM (SELECT outbox_id FROM hub.outbox AS m
         WHERE connector = %(connector)s
           AND (state = 'queued' AND due_at <= %(now)s
                OR state = 'sending' AND leased_until <= %(now)s)
           AND NOT EXISTS (SELECT 1 FROM hub.outbox AS b
                            WHERE b.connector = m.connector AND b.case_no = m.case_no
                              AND b.seq < m.seq AND b.state <> 'delivered')
         ORDER BY due_at, outbox_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS due
 WHERE o.outbox_id = due.outbox_id
RETURNING o.outbox_id, o.case_no, o.key, o.message_type, o.payload, o.attempts, o.created_at,
          o.first_tried_at,
          coalesce((SELECT jsonb_agg(jsonb_build_object('key', e.key, 'time', e.payload->>'time',
                                                        'external_id', e.external_id)
                                     ORDER BY e.seq)
                      FROM hub.outbox AS e
                     WHERE e.connector = o.connector AND e.case_no = o.case_no
                       AND e.seq < o.seq), '[]') AS earlier
""")
_DELIVERED: Final = """
UPDATE hub.outbox SET state = 'delivered', delivered_at = %s, leased_until = NULL, external_id = %s,
       last_error = NULL WHERE outbox_id = %s AND state <> 'delivered'
"""
_KNOWN_AS: Final = (
    "UPDATE hub.case SET external_no = %s WHERE case_no = %s AND external_no IS DISTINCT FROM %s"
)
_LATER: Final = """
UPDATE hub.outbox SET state = 'queued', due_at = %s, leased_until = NULL, last_error = %s
 WHERE outbox_id = %s AND state = 'sending' AND attempts = %s
"""
_DEAD: Final = """
UPDATE hub.outbox SET state = 'dead', leased_until = NULL, last_error = %s
 WHERE outbox_id = %s AND state = 'sending' AND attempts = %s
"""
_AGAIN: Final = """
UPDATE hub.outbox SET state = 'queued', due_at = %s, attempts = 0, first_tried_at = NULL
 WHERE outbox_id = %s AND state = 'dead' RETURNING case_no, key, connector
"""
_STATE: Final = "SELECT state FROM hub.outbox WHERE outbox_id = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message on lease.

    Attributes:
        outbox_id: Its row.
        case_no: The case it tells of.
        key: Its idempotency key, the same in every attempt.
        message_type: Its CloudEvents type.
        payload: The CloudEvent, without its ``id``.
        attempts: How many attempts there were, this one included.
        created_at: When it was queued.
        first_tried_at: When it was first tried; giving up counts from here.
        earlier: What this receiver was told of the case before: ``key``, ``time`` and
            ``external_id`` of each.
    """

    outbox_id: int
    case_no: str
    key: str
    message_type: str
    payload: dict[str, Any]
    attempts: int
    created_at: datetime
    first_tried_at: datetime
    earlier: list[dict[str, Any]] = field(default_factory=list)

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent, complete."""
        return {"id": self.key, **self.payload}


class Deliverer(Protocol):
    """A way out to another system."""

    async def deliver(self, message: Message) -> str | None:
        """Deliver a message under its key; return the other side's number for it.

        Raises:
            DispatchFailedError: Not this time.
            DispatchRefusedError: Never.
        """


async def enqueue(
    conn: Connection,
    connector: str | None,
    case_no: str,
    message_type: str,
    payload: dict[str, Any],
    *,
    at: datetime,
) -> None:
    """Queue a message in the transaction of the change it tells of; the case is locked or new.

    It goes to the connector, and to every receiver that takes messages of this type and severity;
    of a drill, only to the null connector.
    """
    await conn.execute(
        _ADD,
        {
            "connector": connector,
            "main": message_type in MAIN,
            "null": NULL,
            "drill": DRILL_TENANT,
            "case_no": case_no,
            "type": message_type,
            "payload": Jsonb(payload),
            "at": at,
        },
    )


async def is_heard(conn: Connection, message_type: str) -> bool:
    """Return whether any receiver takes messages of this type."""
    row = await (await conn.execute(_HEARD, [message_type])).fetchone()
    return bool(row and row[0])


async def lease(pool: Pool, connector: str, now: datetime, limit: int) -> list[Message]:
    """Take messages that are due, at most one of a case, for :data:`LEASE_S` seconds."""
    until = now + timedelta(seconds=LEASE_S)
    parameters = {"connector": connector, "now": now, "until": until, "limit": limit}
    async with transaction(pool) as conn:
        rows = await select(conn, _LEASE, parameters)
    return [Message(**row) for row in sorted(rows, key=lambda row: int(row["outbox_id"]))]


async def mark_delivered(
    pool: Pool, message: Message, connector: str, external_id: str | None, now: datetime
) -> None:
    """Note that the other side has it; noted once, whoever's lease it is by now."""
    async with transaction(pool) as conn:
        done = await conn.execute(_DELIVERED, [now, external_id, message.outbox_id])
        if done.rowcount == 0:
            return
        if external_id is not None:
            await conn.execute(_KNOWN_AS, [external_id, message.case_no, external_id])
        await append(conn, [_entry(message, connector, "delivered", external_id=external_id)], now)


async def put_off(pool: Pool, message: Message, error: str, due_at: datetime) -> None:
    """Try again later. Without effect where the lease was lost."""
    async with transaction(pool) as conn:
        await conn.execute(_LATER, [due_at, error, message.outbox_id, message.attempts])


async def bury(pool: Pool, message: Message, connector: str, error: str, now: datetime) -> None:
    """Give it up: a dead letter (死信), shown to staff. Without effect where the lease was lost."""
    async with transaction(pool) as conn:
        done = await conn.execute(_DEAD, [error, message.outbox_id, message.attempts])
        if done.rowcount:
            entry = _entry(message, connector, "delivery_failed", reason=error)
            await append(conn, [entry], now)


async def resend(conn: Connection, outbox_id: int, *, actor: str, now: datetime) -> int:
    """Bring a dead letter back to life, with the key it had.

    Returns:
        The id of the event.

    Raises:
        NotFoundError: There is no such message.
        ConflictError: It is not dead.
    """
    row = await (await conn.execute(_AGAIN, [now, outbox_id])).fetchone()
    if row is None:
        state = await (await conn.execute(_STATE, [outbox_id])).fetchone()
        if state is None:
            raise NotFoundError(
                Text(
                    f"待发中没有消息 {outbox_id}", f"there is no message {outbox_id} in the outbox"
                )
            )
        raise ConflictError(
            Text(f"消息{outbox_id}不是死信", f"message {outbox_id} is {state[0]}, not dead")
        )
    case_no, key, connector = row
    entry = Entry(
        log="case",
        actor=actor,
        object="case",
        object_id=case_no,
        action="delivery_resent",
        before="dead",
        after="queued",
        detail={"case_no": case_no, "key": key, "connector": connector},
    )
    return (await append(conn, [entry], now))[0]


def pause(attempts: int, rng: Random) -> float:
    """Return how long to wait after so many attempts, in seconds: doubling, with jitter.

    Half of the pause is random, so that a thousand orders that failed together do not come back
    together.

    >>> 2.5 <= pause(1, Random(1)) <= 5 and 450 <= pause(50, Random(1)) <= 900
    True
    """
    full = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts - 1, 16))
    return full * (0.5 + 0.5 * rng.random())


def _entry(
    message: Message,
    connector: str,
    action: str,
    *,
    reason: str | None = None,
    external_id: str | None = None,
) -> Entry:
    return Entry(
        log="case",
        actor="hub",
        object="case",
        object_id=message.case_no,
        action=action,
        before="sending",
        after="delivered" if action == "delivered" else "dead",
        reason=reason,
        detail={
            "case_no": message.case_no,
            "key": message.key,
            "connector": connector,
            "message_type": message.message_type,
            "attempts": message.attempts,
            "external_id": external_id,
        },
    )
