"""Row 28: an hour of a city in a minute and a half, at 1,000 messages a second: nothing grows."""

import asyncio

import pytest

from simulators.footprint import footprint
from tests.e2e.faults.site import Site


@pytest.mark.tier_n
@pytest.mark.timeout(300)
async def test_28_a_thousand_a_second_for_a_while(nats_site: Site) -> None:
    site, seconds = nats_site, 90
    with site.running(site.role()) as role:
        async with site.loaded(1_000, 1_000 * seconds) as sending:
            await asyncio.sleep(20)  # all is loaded, all caches are full
            base = footprint(role.pid)
            behind = []
            while not sending.done():
                await asyncio.sleep(5)
                behind.append(len(site.run().acked) - await site.stored())
            after = footprint(role.pid)
        await site.settled(role)
        await site.judge()
    assert after.rss_kb - base.rss_kb < 16 << 10, f"{base} became {after}"
    assert after.descriptors - base.descriptors <= 4, f"{base} became {after}"
    assert min(behind[len(behind) // 2 :]) < 2_000, f"the lag grows: {behind}"
