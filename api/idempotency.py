"""A POST that is sent twice acts once: its answer is kept under its Idempotency-Key.

A key is claimed before the action runs. A second request with the same key gets the kept answer,
409 while the first still runs, and 422 if it asks for something else. An action itself refuses
what is already done, so a claim that a crash left behind may be taken over after a minute.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from fastapi import Request
from psycopg.types.json import Jsonb

from api.problems import Problem, as_problem
from core.clock import Clock
from core.db import Pool, transaction
from core.errors import CityhubError
from core.model import Text

ABANDONED: Final = timedelta(seconds=60)

_CLAIM: Final = """
INSERT INTO hub.idempotency AS held (key, request, created_at)
VALUES (%(key)s, %(request)s, %(now)s)
ON CONFLICT (key) DO UPDATE SET created_at = %(now)s
      WHERE held.status IS NULL AND held.request = %(request)s AND held.created_at < %(abandoned)s
RETURNING key
"""
_HELD: Final = "SELECT request, status, answer FROM hub.idempotency WHERE key = %s"
_KEEP: Final = "UPDATE hub.idempotency SET status = %s, answer = %s WHERE key = %s"
_RELEASE: Final = "DELETE FROM hub.idempotency WHERE key = %s AND status IS NULL"

_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller is told."""

    status: int
    body: Mapping[str, Any]
    replayed: bool = False


async def once(
    request: Request,
    key: str | None,
    act: Callable[[], Awaitable[Mapping[str, Any]]],
    *,
    pool: Pool,
    clock: Clock,
) -> Answer:
    """Act, unless this key has acted already.

    Args:
        request: What was asked for; method, path, version and body tell two requests apart.
        key: The caller's key; None: act whatever was before.
        act: The action; returns the body of the answer.
        pool: Where the answers are kept.
        clock: What time it is.

    Raises:
        Problem: The key was used for something else, or is in use.
    """
    if key is None:
        return Answer(200, await act())
    digest = await _digest(request)
    now = clock.now()
    async with transaction(pool) as conn:
        claim = {"key": key, "request": digest, "now": now, "abandoned": now - ABANDONED}
        cursor = await conn.execute(_CLAIM, claim)
        claimed = await cursor.fetchone() is not None
        held = None if claimed else await (await conn.execute(_HELD, [key])).fetchone()
    if held is not None:
        return _replay(digest, *held)
    try:
        answer = await _outcome(act)
    except BaseException:
        await _forget(pool, key)
        raise
    async with transaction(pool) as conn:
        await conn.execute(_KEEP, [answer.status, Jsonb(answer.body), key])
    return answer


async def _outcome(act: Callable[[], Awaitable[Mapping[str, Any]]]) -> Answer:
    """Run the action; a refusal that will stand is an answer too."""
    try:
        return Answer(200, await act())
    except (CityhubError, Problem) as error:
        problem = as_problem(error)
        if problem.status >= _SERVER_ERROR:
            raise
        return Answer(problem.status, problem.document())


async def _forget(pool: Pool, key: str) -> None:
    async with transaction(pool) as conn:
        await conn.execute(_RELEASE, [key])


def _replay(digest: bytes, request: bytes, status: int | None, answer: Any) -> Answer:
    if bytes(request) != digest:
        raise Problem(
            422,
            "key_reused",
            Text("此 Idempotency-Key 已用于另一请求，请换一个。",
                 "This Idempotency-Key was used for another request; take a new one."),
        )  # fmt: skip
    if status is None:
        raise Problem(
            409,
            "in_progress",
            Text("同一请求正在处理。", "The same request is still being carried out."),
            headers={"Retry-After": "1"},
        )
    return Answer(status, answer, replayed=True)


async def _digest(request: Request) -> bytes:
    parts = (
        request.method.encode(),
        request.url.path.encode(),
        request.headers.get("if-match", "").encode(),
        await request.body(),
    )
    return hashlib.sha256(b"\0".join(parts)).digest()
