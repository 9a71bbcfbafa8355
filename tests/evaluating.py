"""Twelve cases whose every figure is worked out by hand, and cases by chance."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

CITY: Final = ZoneInfo("Asia/Shanghai")
AFTER: Final = datetime(2026, 12, 5, tzinfo=UTC)
"""November is over."""
GRID: Final = "14118200100101"


def at(text: str) -> datetime:
    """Return a time of 2026 in the city, such as ``11-02 08:00``."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=CITY)


def _case(number: int, source: str, dept: str, reported: str, **facts: Any) -> dict[str, Any]:
    filed = facts.pop("filed", reported)
    sent = facts.pop("sent", reported)
    closed = facts.pop("closed", None)
    times = {"due": "handle_due_at", "fed_back": "feedback_at"}
    return {
        "case_no": f"C{number:02}",
        "source": source,
        "handling_dept": dept,
        "reported_at": at(reported),
        "filed_at": filed and at(filed),
        "dispatched_at": sent and at(sent),
        "verified_at": closed and at(closed),
        "closed_at": closed and at(closed),
        "first_closed_at": closed and at(closed),
        "verify_result": "passed" if closed else None,
        "state": "closed" if closed else "dispatched",
        **{times.get(key, key): at(v) if key in times else v for key, v in facts.items()},
    }


TWELVE: Final = [
    _case(1, "sensor", "SZ", "11-02 08:00", fed_back="11-02 10:00", closed="11-02 11:00",
          due="11-02 14:00", verify_method="sensor"),
    _case(2, "sensor", "SZ", "11-03 09:00", fed_back="11-03 13:00", closed="11-03 14:00",
          due="11-03 15:00", verify_method="sensor_and_human", rework_count=1),
    _case(3, "sensor", "SZ", "11-04 21:00", fed_back="11-05 05:00", closed="11-05 06:00",
          due="11-05 03:00", verify_method="human", paused_s=7200),  # late; at night
    _case(4, "hotline", "LD", "11-05 10:00", filed="11-05 10:20", sent="11-05 10:30",
          fed_back="11-05 16:30", closed="11-05 18:30", due="11-05 18:00", verify_method="human"),
    _case(5, "sensor", "LD", "11-06 10:00", sent="11-06 12:00", fed_back="11-06 22:00",
          closed="11-07 00:00", due="11-06 23:00", verify_method="human", return_count=1,
          extension_count=1),
    _case(6, "sensor", "LD", "11-07 08:00", due="11-07 14:00", state="in_progress",
          suspended=True),  # never handled
    _case(7, "public", "LD", "11-08 12:00", filed=None, sent=None, state="rejected"),
    _case(8, "sensor", "SZ", "11-30 12:00", due="12-01 02:00"),  # due in December
    _case(9, "sensor", "SZ", "10-31 12:00", fed_back="11-01 12:00", closed="11-01 13:00",
          due="11-01 15:00", verify_method="sensor"),
    _case(10, "sensor", "SZ", "10-20 12:00", fed_back="10-30 12:00", closed="11-02 12:00",
          due="10-21 12:00", verify_method="human"),  # handled in October, late
    _case(11, "sensor", "LD", "11-10 08:00", fed_back="11-10 11:00", due="11-10 14:00",
          state="in_progress", verified_at=at("11-10 12:00"),
          first_closed_at=at("11-10 12:00"), recurrence_count=1),
    _case(12, "hotline", "LD", "11-06 11:00", filed="11-06 11:10", sent=None, state="merged",
          merged_into="C05"),
]  # fmt: skip

BY_HAND: Final[dict[str, tuple[int | None, int, float]]] = {
    "filing": (9, 10, 0.9),  # all reported in November but 9, 10; of those not 7
    "dispatch_accuracy": (8, 9, 8 / 9),  # 1-6, 8, 11 went out; 5 twice
    "handled": (6, 8, 0.75),  # due 1-6, 9, 11; not 6, and 11 came back
    "handled_on_time": (5, 8, 0.625),  # and not 3
    "closed": (7, 9, 7 / 9),  # due 1-6, 9, 10, 11
    "closed_on_time": (5, 9, 5 / 9),  # 3 and 10 were handled late
    "closed_of_accepted": (5, 9, 5 / 9),  # 1-5 of 1-6, 8, 11, 12
    "overdue": (3, 8, 0.375),  # 3, 6, 11
    "rework": (1, 8, 0.125),  # verified 1-5, 9, 10, 11
    "returned": (1, 8, 0.125),
    "extended": (1, 8, 0.125),
    "suspended": (1, 8, 0.125),
    "machine_first": (7, 8, 0.875),  # filed 1-6, 8, 11; a citizen told of 4
    "sensor_verified": (3, 7, 3 / 7),  # 1, 2, 9
    "recurred": (1, 8, 0.125),
    "false_alarm": (1, 3, 1 / 3),
    "handling_median": (None, 6, 7 * 3600),  # 2, 4, 6, 8, 10, 24 hours
    "handling_p90": (None, 6, 17 * 3600),  # half way from 10 to 24
    "charged_median": (None, 6, 6 * 3600),  # two of 3's eight hours were paused
    "charged_p90": (None, 6, 17 * 3600),
    "lead": (None, 1, 3600),  # 5 at ten, a citizen at eleven
    "mttr": (None, 7, 9 * 3600),  # 3, 5, 8:10, 9, 14, 25 hours, 13 days
    "mtta": (None, 2, 90),
}
"""Numerator, denominator and value of November."""
SCORE: Final = 75.0
"""40 x 5/8 + 20 x 6/8 + 20 x 7/8 + 10 x 7/8 + 10 x 7/8."""

_ORDERS: Final = """
INSERT INTO hub.work_order (order_no, case_no, dept_code, state, issued_at)
SELECT case_no || '-W1', case_no, 'SZ', 'issued', coalesce(dispatched_at, reported_at)
  FROM hub.case WHERE dispatched_at IS NOT NULL OR return_count > 0
"""


def add_cases(database: str, cases: Iterable[dict[str, Any]]) -> None:
    """Insert cases, each with its first work order."""
    base = {
        "category": "component",
        "class_code": "0102",
        "grid_code": GRID,
        "description_zh": "井盖",
        "description_en": "cover",
        "severity": 4,
    }
    with psycopg.connect(database) as conn:
        for case in cases:
            row = {**base, **case}
            insert = sql.SQL("INSERT INTO hub.case ({}) VALUES ({})").format(
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join(map(sql.Placeholder, row)),
            )
            conn.execute(insert, row)
        conn.execute(_ORDERS)


def by_chance(seed: int, count: int) -> list[dict[str, Any]]:
    """Return cases from October to December that stand anywhere a case may."""
    chance = random.Random(seed)
    made: list[dict[str, Any]] = []
    for number in range(count):
        now = at("10-15 00:00") + timedelta(minutes=chance.randrange(75 * 1440))
        times: dict[str, datetime | None] = {"reported_at": now}
        reach = chance.choice([0, 1, 2, 3, 4, 4, 4, 4])
        for step in ("filed_at", "dispatched_at", "feedback_at", "verified_at")[:reach]:
            now += timedelta(minutes=chance.choice([0, 1, 30, 600, 4000]))
            times[step] = now
        state = ["reported", "filed", "dispatched", "feedback", "closed"][reach]
        if chance.random() < 0.1 and reach in {0, 1, 2}:
            state = chance.choice(["rejected", "void"]) if reach == 0 else "merged"
        if reach == 4:
            times |= {"closed_at": now, "first_closed_at": now}
        recurred = reach == 4 and chance.random() < 0.15
        if recurred:
            state = "in_progress"
        due = times.get("dispatched_at")
        merged = state == "merged" and made
        made.append(
            {
                **times,
                "case_no": f"R{seed}-{number:04}",
                "source": chance.choice(["sensor", "hotline", "public", "inspector"]),
                "handling_dept": chance.choice(["SZ", "LD", None]),
                "state": state,
                "handle_due_at": due and due + timedelta(hours=chance.choice([1, 6, 36])),
                "verify_method": chance.choice(["sensor", "human", "sensor_and_human", None]),
                "verify_result": "passed" if reach == 4 else None,
                "merged_into": chance.choice(made)["case_no"] if merged else None,
                "suspended": chance.random() < 0.1,
                "paused_s": chance.choice([0, 600, 90_000]),
                "rework_count": chance.choice([0, 0, 0, 1, 2]),
                "return_count": chance.choice([0, 0, 0, 1, 2]) if reach >= 2 else 0,
                "extension_count": chance.choice([0, 0, 1]),
                "recurrence_count": int(recurred),
            }
        )
    return made
