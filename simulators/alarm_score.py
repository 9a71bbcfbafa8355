"""The oracle's word on alarms: each that must come came once, was filed once, dispatched once."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import psycopg

from core.model import from_micros
from simulators.run_ledger import Run

Count = Callable[[str, str, Iterable[object]], None]

_ALARMS: Final = """
SELECT d.device_id, a.rule_id, a.audience, a.case_no
  FROM hub.alarm AS a JOIN hub.device AS d USING (device_no)
 WHERE a.received_at >= %s AND d.device_id = ANY(%s)
"""
_ISSUED: Final = """
SELECT case_no, key FROM hub.outbox
 WHERE case_no = ANY(%s) AND message_type LIKE '%%issued%%' AND state = 'delivered'
"""


def judge(count: Count, conn: psycopg.Connection[Any], run: Run, received: Path | None) -> None:
    """Count what is wrong with the alarms of a run; nothing where none was expected or came."""
    devices = sorted({device for device, _ in run.alarms} | set(run.devices))
    rows = conn.execute(_ALARMS, [from_micros(run.began), devices]).fetchall()
    raised = Counter((device, rule) for device, rule, _, _ in rows)
    count("A", "expected and never raised", [key for key in run.alarms if not raised[key]])
    count("A", "raised more than once", [key for key, number in raised.items() if number > 1])
    city = {(device, rule) for device, rule, audience, _ in rows if audience == "city"}
    count("A", "raised for the city without a cause", city - set(run.alarms))
    wanted = {key for key, dispatched in run.alarms.items() if dispatched}
    cases = {(device, rule): case for device, rule, _, case in rows if (device, rule) in wanted}
    count("A", "raised and never filed", [key for key, case in cases.items() if case is None])
    filed = {case for case in cases.values() if case is not None}
    issued = Counter(case for case, _ in conn.execute(_ISSUED, [list(filed)]).fetchall())
    count("A", "filed and not dispatched once", [case for case in filed if issued[case] != 1])
    if received is not None:
        took = _effects(received)
        count("A", "not taken once by the platform", [case for case in filed if took[case] != 1])


def _effects(journal: Path) -> Counter[str]:
    """Return how many work orders the platform took for each case; repetitions have no effect."""
    text = journal.read_text("utf-8") if journal.exists() else ""  # nothing was ever delivered
    entries = [json.loads(line) for line in text.splitlines() if line]
    return Counter(
        entry["case_no"]
        for entry in entries
        if entry.get("valid") and not entry.get("duplicate") and "issued" in entry.get("type", "")
    )
