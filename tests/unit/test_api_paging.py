"""Tokens of pages, and bounds of the feed."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.feed import Bounds, encode_event
from api.paging import make_token, read_token
from api.problems import Problem

AT = datetime(2026, 11, 21, 4, 0, 0, 1, tzinfo=UTC)


def test_a_token_gives_its_key_back() -> None:
    assert read_token(make_token([AT, "a/ö"]), datetime, str) == [AT, "a/ö"]
    assert read_token(None, int) is None


@given(st.text(max_size=60))
def test_a_token_that_is_none_of_ours_is_refused_and_nothing_worse(token: str) -> None:
    for kinds in ((int,), (str,), (datetime, str), (datetime, int)):
        with suppress(Problem):
            read_token(token, *kinds)


@pytest.mark.parametrize(
    "key", [[1, 2], ["x"], [True], [1 << 63], [None], [], ["2026-11-21T04:00:00"]]
)
def test_a_token_of_another_shape_is_refused(key: list[object]) -> None:
    kind = datetime if key == ["2026-11-21T04:00:00"] else int
    with pytest.raises(Problem):
        read_token(make_token(key), kind)


@pytest.mark.parametrize(
    ("bounds", "cursor", "reason"),
    [
        (Bounds(0, None, whole=False), 0, None),
        (Bounds(0, None, whole=False), 1, "unknown_id"),
        (Bounds(9, 1, whole=True), 0, None),
        (Bounds(9, 3, whole=True), 0, None),  # 1 and 2 were never seen by anybody
        (Bounds(9, 3, whole=False), 1, "older_than_log"),
        (Bounds(9, 3, whole=False), 2, None),
        (Bounds(9, 3, whole=False), 9, None),
        (Bounds(9, 3, whole=False), 10, "unknown_id"),
        (Bounds(9, None, whole=False), 8, "older_than_log"),  # all of it was removed
        (Bounds(9, None, whole=False), 9, None),
        (Bounds(9, 3, whole=False), -1, "unknown_id"),
        (Bounds(9, 3, whole=False), None, None),
    ],
)
def test_the_log_goes_on_only_from_an_id_it_knows(
    bounds: Bounds, cursor: int | None, reason: str | None
) -> None:
    assert bounds.refuse(cursor) == reason


@given(st.text(), st.text())
def test_no_text_can_cut_an_event_in_two(text: str, name: str) -> None:
    row = dict.fromkeys(("from_state", "to_state", "reason"), text) | {
        "event_id": 7,
        "log": "alarm",
        "at": AT,
        "actor": text,
        "object": name,
        "object_id": text,
        "action": text,
        "detail": {"text": text},
    }
    lines = encode_event(row).decode("utf-8", "surrogatepass").splitlines()
    assert len(lines) == 4
    assert [line.partition(":")[0] for line in lines] == ["id", "event", "data", ""]
