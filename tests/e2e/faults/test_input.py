"""Rows 12 to 16: what devices send, wrong clocks, repetitions, poison, far too much of it."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from core.model import Quality
from devices.native import encode_event
from simulators.footprint import footprint
from simulators.load import Load, run_load
from simulators.publisher import Publication, Publisher
from simulators.run_ledger import Key
from tests.e2e.faults.office import raise_alarms
from tests.e2e.faults.site import Site
from tests.intake import COVER, SECOND, cover
from tests.malformed import BROKEN_RECORDS

Sent = tuple[str, bytes, Key | None]

HOUR = 3600 * SECOND
YEAR = 8766 * HOUR


@pytest.mark.tier_p
async def test_12_clocks_are_off_by_eight_hours_by_ten_years_or_stand_at_1970(
    nats_site: Site,
) -> None:
    site = nats_site
    site.settle(7)
    offsets = [0, 8 * HOUR, -8 * HOUR, HOUR, 10 * YEAR, -10 * YEAR, None]  # None: 1970

    def messages() -> Iterator[Sent]:
        for seq in range(100):
            now = site.clock.micros() // 1000 * 1000
            for device, offset in zip(site.devices, offsets, strict=True):
                ts = seq * SECOND if offset is None else now + offset
                yield (*cover(device, seq, ts=ts), (device, seq))

    with site.running(site.role()) as role:
        await site.publish(messages(), rate=400)
        await site.settled(role)
        await site.judge()
    suspect = int(Quality.CLOCK_SUSPECT)
    rows = await site.ask(
        "SELECT device_id, count(*)::int, bool_and(abs(extract(epoch FROM now() - ts)) < 600),"
        f" bool_and(quality & {suspect} <> 0), bool_and(extra ? 't'), bool_and(extra ? 'rx')"
        " FROM hub.reading_manhole_cover JOIN hub.device USING (device_no) GROUP BY 1 ORDER BY 1"
    )
    wrong = (100, True, True, True, None)  # stored at receive time, flagged, its own time kept
    assert (
        [row[1:4] for row in rows]
        == [
            (100, True, False),
            wrong[:3],
            (100, False, False),  # eight hours behind: believed, late, and the receipt beside it
            wrong[:3],
            wrong[:3],
            wrong[:3],
            wrong[:3],
        ]
    )
    assert [row[4] for row in rows if row[3]] == [True] * 5, "a device's own time is not kept"
    assert rows[2][5], "the receive time of a late row is not kept"
    alarms = await raise_alarms(site.database)
    assert alarms == [(f"MH-{n}", "clock_wrong", "maintenance") for n in (1, 3, 4, 5, 6)]
    skews = await site.ask(
        "SELECT skew_s FROM hub.device_seen JOIN hub.device USING (device_no) ORDER BY device_id"
    )
    assert [round(skew / 3600) for (skew,) in skews[:4]] == [0, -8, 8, -1]


@pytest.mark.tier_p
async def test_13_duplicates_times_three_late_by_a_day_and_shuffled(site: Site) -> None:
    """All rows stand once, and the alarm comes once, whatever comes again, late, or in between."""
    rng = random.Random(13)
    site.settle(10)
    now = site.clock.micros() // 1000 * 1000
    streams: list[list[Sent]] = []
    for device in site.devices:
        live = [(*cover(device, seq, ts=now + seq * 1000), (device, seq)) for seq in range(60)]
        late: list[Sent] = [
            (*cover(device, 1_000 + i, ts=now - 24 * HOUR + i * SECOND, tilt=80.0), None)
            for i in range(20)
        ]
        streams.append([*live[:30], *late, *live[30:]])
    theft = encode_event("cover_open", ts_micros=now, seq=None, on=True)
    messages: list[Sent] = []
    while any(streams):
        stream = rng.choice([one for one in streams if one])
        messages += [stream.pop(0)] * 3
        if len(messages) in {300, 600}:
            messages += [("hub/MH-0/event", theft, None)] * 2
    with site.running(site.role()) as role:
        await site.publish(messages, rate=1_000)
        await site.settled(role, 10 * 80)
        async with asyncio.timeout(20):
            while await site.duplicates() < 2 * 800:
                await asyncio.sleep(0.1)
        assert await raise_alarms(site.database) == [("MH-0", "cover_open", "city")]
        site.expect("MH-0", "cover_open")
        await site.judge()
    assert await site.stored() == 800


@pytest.mark.tier_p
async def test_14_poison_among_good_readings(site: Site) -> None:
    site.settle(10)
    now = site.clock.micros() // 1000 * 1000
    poison = [(code, payload) for code, some in BROKEN_RECORDS.items() for payload in some]
    good: list[Sent] = [
        (*cover(device, seq, ts=now + seq * 1000), (device, seq))
        for seq in range(60)
        for device in site.devices[1:]
    ]
    rng, messages = random.Random(14), list(good)
    for _, payload in poison:
        messages.insert(rng.randrange(len(messages)), ("hub/MH-0/telemetry", payload, None))
    with site.running(site.role()) as role:
        await site.publish(messages, rate=500)
        await site.settled(role, len(good))
        assert role.is_running(), role.last_words()
        async with asyncio.timeout(20):
            while (codes := await _codes(site)).keys() < BROKEN_RECORDS.keys():
                await asyncio.sleep(0.1)
        await site.judge()
    assert set(codes) == set(BROKEN_RECORDS)
    assert await site.stored() == len(good)


async def _codes(site: Site) -> dict[str, int]:
    return dict(
        await site.ask("SELECT code, sum(repeat_count)::int FROM hub.quarantine GROUP BY 1")
    )


@pytest.mark.tier_p
async def test_15_oversize_messages_and_json_that_expands(site: Site) -> None:
    """Beyond 64 KiB all goes to quarantine; ten megabytes the broker cuts, and the hub stays up."""
    site.settle(5)
    now = site.clock.micros() // 1000 * 1000
    large = b'{"tilt":1,"x":"%b"}' % (b"a" * 256_000)
    wide = b"[" + b",".join([b'{"tilt":1}'] * 6_000) + b"]"  # 66 kB, 6,000 records
    good: list[Sent] = [
        (*cover(device, seq, ts=now + seq * 1000), (device, seq))
        for seq in range(100)
        for device in site.devices[1:]
    ]
    with site.running(site.role()) as role:
        await site.publish(good[:200], rate=500)
        await site.settled(role, 200)
        base = footprint(role.pid)
        await site.publish(
            [("hub/MH-0/telemetry", large, None), ("hub/MH-0/telemetry", wide, None)] * 5, rate=50
        )
        huge = Publisher[None](site.broker.login)
        cut = asyncio.create_task(
            huge.send([Publication("hub/MH-0/telemetry", b"1" * 10_000_000, None)], rate=10)
        )
        await asyncio.sleep(1)
        assert not cut.done(), "ten megabytes were acknowledged"
        cut.cancel()
        await asyncio.wait([cut])
        await site.publish(good[200:], rate=500)
        await site.settled(role, len(good))
        async with asyncio.timeout(20):
            while (codes := await _codes(site)).get("too_large") != 10:
                await asyncio.sleep(0.1)
        assert footprint(role.pid).rss_kb - base.rss_kb < 20 << 10
        await site.judge()
    assert codes == {"too_large": 10}


@pytest.mark.tier_p
async def test_16_one_device_sends_5000_a_second_beside_quiet_ones(nats_site: Site) -> None:
    site = nats_site
    site.settle(21)
    quiet, seconds = site.devices[1:], 6
    delays: list[float] = []
    with site.running(site.role()) as role:
        noise = Load(COVER, site.devices[:1], 5_000 * seconds)
        flood = asyncio.create_task(
            run_load(noise, site.broker.login, rate=5_000, ledger=site.ledger, clock=site.clock)
        )
        publisher = Publisher[Key](site.broker.login, client_id="quiet")
        loop, seq = asyncio.get_running_loop(), 0
        while not flood.done():
            start = loop.time()
            ts = site.clock.micros() // 1000 * 1000
            await publisher.send(
                (Publication(*cover(device, seq, ts=ts), (device, seq)) for device in quiet),
                rate=1_000,
            )
            async with asyncio.timeout(60):
                while (await site.ask(_QUIET, seq))[0][0] < len(quiet):
                    assert role.is_running(), role.last_words()
                    await asyncio.sleep(0.02)
            delays.append(loop.time() - start)
            seq += 1
        await flood
        await site.settled(role)
        await site.judge()
    assert max(delays) < 2.0, f"others waited {max(delays):.1f} s"
    assert await raise_alarms(site.database) == [("MH-0", "chatty", "maintenance")]


_QUIET = "SELECT count(*) FROM hub.reading_manhole_cover WHERE device_no > 1 AND seq = %s"
