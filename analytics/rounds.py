"""The slow role that judges shifts once they are over: streets covered, workers on their section.

Half an hour after a shift of a plan ends (radios deliver late) its readings are looked at once, and
what came of it is kept in ``hub.work_round``: shares and verdicts, never a track. Missed segments
are told one by one, each by its name; unknown ones are shown there and never told.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

import numpy as np

from analytics.coverage import DONE_SHARE, Places, Segment, cover, cut, presence
from analytics.shifts import LOOK_BACK, Shift, load_paths, load_plans, load_tracks
from analytics.slow import count, is_holder, repeat, store_findings
from analytics.track import Plane
from core.batch import Finding
from core.clock import Clock
from core.db import Connection, Pool, transaction
from core.model import Edge, Severity, Text, to_micros
from devices import KINDS
from devices.kind import DeviceKind
from devices.rounds import Presence, Rounds
from devices.rules import find_rule

_LOCK: Final = 1129270359
_WAIT: Final = timedelta(minutes=30)
_MOST_A_PASS: Final = 50
_LEAST_PRESENCE: Final = 0.5
_LEAST_KNOWN: Final = 0.5
_NAMED: Final = 30

SELECT_JUDGED: Final = "SELECT plan_code, starts_at FROM hub.work_round WHERE ends_at >= %s"
INSERT_ROUND: Final = """
INSERT INTO hub.work_round
  (plan_code, starts_at, ends_at, device_no, work, done, unknown, segments, judged_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


async def run_rounds(*, pool: Pool, clock: Clock, zone: ZoneInfo, every: float) -> NoReturn:
    """Judge shifts for ever, looking ``every`` so many seconds."""
    await repeat("judging shifts", lambda: judge_rounds(pool, clock, zone), every)


async def judge_rounds(pool: Pool, clock: Clock, zone: ZoneInfo) -> list[Finding] | None:
    """Judge the shifts that are over.

    Returns:
        What was found, or None where another process is at it.
    """
    async with transaction(pool) as conn:
        if not await is_holder(conn, _LOCK):
            return None
        now = clock.now()
        findings: list[Finding] = []
        for shift in await _due(conn, now, zone):
            findings += await _judge(conn, shift, now)
        await store_findings(conn, findings)
    count(findings)
    return findings


async def _due(conn: Connection, now: datetime, zone: ZoneInfo) -> list[Shift]:
    """Return shifts that ended lately and were not judged, the oldest first."""
    plans = await load_plans(conn, now)
    judged = set(await (await conn.execute(SELECT_JUDGED, [now - 2 * LOOK_BACK])).fetchall())
    today = now.astimezone(zone).date()
    due = [
        Shift(plan, *times)
        for plan in plans
        for back in range(3)
        if (times := plan.shift(today - timedelta(days=back), zone))
        and now - LOOK_BACK <= times[1] <= now - _WAIT
        and (plan.plan_code, times[0]) not in judged
    ]
    return sorted(due, key=lambda shift: (shift.end, shift.plan.plan_code))[:_MOST_A_PASS]


async def _judge(conn: Connection, shift: Shift, now: datetime) -> list[Finding]:
    plan = shift.plan
    paths, names = await load_paths(conn, plan.segments)
    kind = KINDS.get(plan.kind)
    if not paths or kind is None:
        await _store(conn, shift, now, (0.0, 1.0), {})
        return []
    first = next(iter(paths.values()))[0]
    plane = Plane(first[0], first[1])
    places = cut(paths, plane)
    tracks = await load_tracks(conn, shift, kind, paths, plane)
    begin, end = to_micros(shift.begin), to_micros(shift.end)
    if plan.work == "presence":
        there, unknown = presence(places, tracks.get(plan.device_id), begin, end)
        await _store(conn, shift, now, (there, unknown), {})
        return _absent(shift, kind, there, unknown, now)
    covered = cover(places, tracks, plan.device_id, begin, end)
    segments = {code: asdict(segment) for code, segment in covered.items()}
    await _store(conn, shift, now, _shares(places, covered), segments)
    return _missed(shift, kind, covered, names, now)


def _shares(places: Places, covered: Mapping[str, Segment]) -> tuple[float, float]:
    """Return the shares of all places that are done, and unknown."""
    weight = np.bincount(places.of, minlength=len(places.codes)) / len(places.of)
    found = [covered[code] for code in places.codes]
    return (
        float(sum(w * each.done for w, each in zip(weight, found, strict=True))),
        float(sum(w * each.unknown for w, each in zip(weight, found, strict=True))),
    )


async def _store(
    conn: Connection, shift: Shift, now: datetime, shares: tuple[float, float], segments: Any
) -> None:
    plan = shift.plan
    kept = json.dumps(segments, ensure_ascii=False)
    times = (shift.begin, shift.end)
    row = (plan.plan_code, *times, plan.device_no, plan.work, *shares, kept, now)
    await conn.execute(INSERT_ROUND, row)


def _missed(
    shift: Shift,
    kind: DeviceKind,
    covered: Mapping[str, Segment],
    names: Mapping[str, str],
    now: datetime,
) -> list[Finding]:
    """Return one finding a missed segment; all of them are named in each."""
    watch = next((each for each in kind.watches if isinstance(each, Rounds)), None)
    if watch is None:
        return []
    missed = [code for code, segment in covered.items() if segment.verdict == "missed"]
    unknown = [code for code, segment in covered.items() if segment.verdict == "unknown"]
    listed = [names[code] for code in missed[:_NAMED]]
    more_zh, more_en = (
        (f"；另有 {len(unknown)} 段因定位缺失无法判定", f"; {len(unknown)} more are unknown")
        if unknown
        else ("", "")
    )
    found = []
    for code in missed:
        segment = covered[code]
        how = Text("作业装置未开启", "passed with brush and spray off")
        if segment.dry < 0.5:  # noqa: PLR2004 - most of it was not even passed
            how = Text("未经过", "never passed")
        found.append(
            _finding(
                shift,
                kind,
                watch.missed_rule,
                now,
                kind_of=f"missed:{code}",
                value=segment.done,
                limit=DONE_SHARE,
                explain=Text(
                    f"路段 {names[code]} 未作业（{how.zh}）。本班漏扫 {len(missed)} 段："
                    f"{'、'.join(listed)}{more_zh}",
                    f"segment {names[code]} was not done ({how.en}); {len(missed)} missed in this"
                    f" shift: {', '.join(listed)}{more_en}",
                ),
                detail={
                    "segment": code,
                    "missed": missed,
                    "unknown": unknown,
                    "plan": shift.plan.plan_code,
                    **{name: getattr(segment, name) for name in ("done", "dry")},
                },
            )
        )
    return found


def _absent(
    shift: Shift, kind: DeviceKind, there: float, unknown: float, now: datetime
) -> list[Finding]:
    watch = next((each for each in kind.watches if isinstance(each, Presence)), None)
    if watch is None or unknown > 1 - _LEAST_KNOWN or there >= _LEAST_PRESENCE:
        return []
    return [
        _finding(
            shift,
            kind,
            watch.absent_rule,
            now,
            kind_of="absent",
            value=there,
            limit=_LEAST_PRESENCE,
            explain=Text(
                f"本班已知时间中在岗 {there:.0%}（定位未知 {unknown:.0%}，不计入）",
                f"on the section for {there:.0%} of the known time of this shift"
                f" ({unknown:.0%} unknown, not counted)",
            ),
            detail={"unknown": unknown, "plan": shift.plan.plan_code},
        )
    ]


def _finding(
    shift: Shift,
    kind: DeviceKind,
    rule_id: str,
    now: datetime,
    *,
    kind_of: str,
    value: float,
    limit: float,
    explain: Text,
    detail: Mapping[str, Any],
) -> Finding:
    rule = find_rule(kind.name, rule_id)
    return Finding(
        device_no=shift.plan.device_no,
        rule_id=rule_id,
        detector="rounds",
        kind=kind_of,
        edge=Edge.ONCE,
        ts=to_micros(now),
        first_ts=to_micros(shift.begin),
        received_at=to_micros(now),
        severity=rule.severity if rule else Severity.BLUE,
        explain=explain,
        metric="",
        value=value,
        expected=1.0,
        limit=limit,
        unit="1",
        detail=dict(detail),
    )
