"""Pages of long lists by key, not by offset: a page stays right while rows come and go.

``next`` of an answer is opaque to callers; inside it is the key of the last row. The next page
starts after that key, so nothing is shown twice or skipped, however many rows were added before it.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from api.problems import Problem
from core.model import Text

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=500, description="The most rows of one page.")]
After = Annotated[
    str | None,
    Query(max_length=400, description="`next` of the page before; without it, the first page."),
]


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: str | None = Field(
        default=None, description="Give it as `after` for the next page; null: this was the last."
    )


def cut_page(
    rows: Sequence[dict[str, Any]],
    limit: int,
    key: Callable[[dict[str, Any]], Sequence[Any]],
) -> tuple[Sequence[dict[str, Any]], str | None]:
    """Return the rows of this page, and the token of the next one.

    Args:
        rows: Up to ``limit + 1`` rows: the one too many says that there is a next page.
        limit: Rows a page.
        key: What orders the rows, the last part unique.
    """
    if len(rows) <= limit:
        return rows, None
    page = rows[:limit]
    return page, make_token(key(page[-1]))


def make_token(key: Sequence[Any]) -> str:
    """Return the opaque token of a key.

    >>> read_token(make_token([7, "MH-0001"]), int, str)
    [7, 'MH-0001']
    """
    plain = [part.isoformat() if isinstance(part, datetime) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def read_token(token: str | None, *kinds: type) -> list[Any] | None:
    """Return the key of a token, None for no token.

    Raises:
        Problem: 422, the token is none of ours.
    """
    if token is None:
        return None
    try:
        plain = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return [_part(part, kind) for part, kind in zip(plain, kinds, strict=True)]
    except (ValueError, TypeError, binascii.Error) as error:
        raise Problem(
            422,
            "bad_cursor",
            Text("after 不是本接口给出的翻页标记。", "`after` is no token that this API gave out."),
        ) from error


def _part(part: Any, kind: type) -> Any:
    if kind is datetime:
        at = datetime.fromisoformat(part)
        if at.tzinfo is None:
            raise ValueError(part)
        return at
    if type(part) is not kind or (isinstance(part, int) and abs(part) >= 1 << 63):
        raise ValueError(part)
    return part
