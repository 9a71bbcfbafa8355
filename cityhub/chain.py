"""The chain of the event log: whether every entry is as it was written, and none is missing.

Each entry carries the hash of the one before it and its own, over all that it says. So a changed
entry no longer fits its own hash, and one that was taken out breaks the one that follows; the head
of the chain is kept apart, so the last entry cannot go unnoticed either.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

from core.errors import StartError

RECENT: Final = 10_000
"""So many numbers back a look at the chain goes that is not asked for all of it."""

_BROKEN: Final = "SELECT event_id, fault FROM hub.broken_link(1::int2, %s)"
_HEAD: Final = "SELECT coalesce(max(event_id), 0) FROM hub.event_head"
_COUNT: Final = "SELECT count(*) FROM hub.event_log WHERE tenant_id = 1 AND event_id > %s"
_WORDS: Final = {
    "changed": "entry {} was changed after it was written",
    "missing_before": "an entry before {} was taken out",
    "missing_after": "entry {}, the last one written, is missing or was changed",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a walk along the chain found.

    Attributes:
        whole: Nothing was changed, nothing is missing.
        entries: How many there are.
        event_id: The first broken link; None: there is none.
        words: The same in a sentence.
    """

    whole: bool
    entries: int
    event_id: int | None
    words: str

    def facts(self) -> dict[str, Any]:
        """Return it for a program."""
        return asdict(self)


def verify(conn: Any, *, recent: bool = False) -> Report:
    """Walk along the chain; every hash is computed anew.

    Args:
        conn: A connection of psycopg.
        recent: Only along its end.
    """
    (head,) = conn.execute(_HEAD).fetchone()
    after = max(head - RECENT, 0) if recent else 0
    (entries,) = conn.execute(_COUNT, [after]).fetchone()
    broken = conn.execute(_BROKEN, [after]).fetchone()
    if broken is None:
        some = "last " if after else ""
        return Report(True, entries, None, f"the event log is whole: {some}{entries} entries")
    return Report(False, entries, broken[0], _WORDS[broken[1]].format(broken[0]))


def demand_whole(conn: Any) -> str:
    """Return a sentence on the end of the chain.

    Raises:
        StartError: It is broken.
    """
    report = verify(conn, recent=True)
    if not report.whole:
        raise StartError(
            f"{report.words}: keep a copy of the database, and see who may write to it"
        )
    return report.words
