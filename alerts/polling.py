"""Asking after requests at a receiver that cannot call back, as if it had called."""

import logging
from typing import Final

from alerts.callbacks import Callback, CallbackDesk
from alerts.connectors.open311 import Open311
from core.db import Pool, transaction
from core.errors import DispatchFailedError, DispatchRefusedError, StoreUnavailableError

log = logging.getLogger(__name__)

AT_ONCE: Final = 200
"""Requests asked after in one round; the longest unasked first."""

_OPEN: Final = """
SELECT DISTINCT ON (o.case_no) o.outbox_id, o.case_no, o.seq, o.external_id
  FROM hub.outbox AS o JOIN hub.case AS c USING (case_no)
 WHERE o.connector = %s AND o.state = 'delivered' AND o.external_id IS NOT NULL
   AND c.state IN ('dispatched', 'in_progress')
 ORDER BY o.case_no, o.seq DESC LIMIT %s
"""
_NUMBER: Final = "UPDATE hub.outbox SET external_id = %s WHERE outbox_id = %s"
_KNOWN_AS: Final = "UPDATE hub.case SET external_no = %s WHERE case_no = %s"


async def poll(pool: Pool, connector: Open311, name: str, desk: CallbackDesk) -> int:
    """Ask after every open request once: one that is known is accepted, a closed one fed back.

    Returns:
        How many were asked after.
    """
    asked = 0
    try:
        async with transaction(pool) as conn:
            rows = await (await conn.execute(_OPEN, [name, AT_ONCE])).fetchall()
        for outbox_id, case_no, seq, external_id in rows:
            asked += 1
            answer = await connector.status(external_id)
            if answer is None:
                continue
            number, status, notes = answer
            if number != external_id:
                async with transaction(pool) as conn:
                    await conn.execute(_NUMBER, [number, outbox_id])
                    await conn.execute(_KNOWN_AS, [number, case_no])
            await desk.take(
                name,
                Callback(key=f"{number}:accept", seq=2 * seq, case_no=case_no, action="accept"),
            )
            if status == "closed":
                note = notes or f"服务请求 {number} 已办结 closed"
                await desk.take(
                    name,
                    Callback(
                        key=f"{number}:feedback",
                        seq=2 * seq + 1,
                        case_no=case_no,
                        action="feedback",
                        note=note,
                    ),
                )
    except (DispatchFailedError, DispatchRefusedError, StoreUnavailableError) as error:
        # the next round asks again
        log.warning("not asked after", extra={"receiver": name, "reason": str(error)})
    return asked
