"""Rows 1, 3 and 5: whatever is killed or stopped, what was acknowledged is there, once, in order.

A run without a kill inside COMMIT, or without a message that had to come again, proves nothing and
fails. The whole ``up``, and its broker with a backlog, are killed in ``tests/e2e/test_kill_up.py``.
"""

import asyncio
import os
import random
import signal

import pytest

from tests.e2e.faults.site import Site
from tests.servers import Mosquitto

POINTS = (
    "ingest.before_copy",
    "ingest.after_copy",
    "ingest.before_commit",
    "ingest.inside_commit",
    "ingest.after_commit",
)


@pytest.mark.tier_p
@pytest.mark.timeout(300)
async def test_01_a_worker_killed_at_five_points_and_at_random(site: Site) -> None:
    rng = random.Random(1)
    with site.running(site.role()) as role:
        async with site.loaded(15_000, 500) as sending:
            await asyncio.sleep(rng.uniform(0.3, 1.0))
            role.kill()
            for point in POINTS:
                role.start(f"{point}:kill@{rng.randint(1, 3)}")
                assert await role.ended() == -signal.SIGKILL, role.last_words()
            role.start()
            assert not sending.done(), "the kills came too late to hurt"
        await site.settled(role)
    site.judge()
    # Killed before COMMIT, a batch had to come again: on a log without a trace, on a session as
    # duplicates of what was committed and never acknowledged.
    assert site.broker.has_log or await site.duplicates() > 0, "no redelivery: the run is invalid"


@pytest.mark.tier_p
async def test_03_mosquitto_killed_with_a_backlog_stays_within_the_documented_bound(
    mosquitto_site: Site,
) -> None:
    """It acknowledges what it holds in memory: what came since its last save may be lost."""
    site, server = mosquitto_site, mosquitto_site.broker.server
    assert isinstance(server, Mosquitto)
    with site.running(site.role()) as role:
        role.kill()
        async with site.loaded(6_000, 2_000) as sending:
            await asyncio.sleep(1.5)
            assert not sending.done()
            backlog = len(site.run().acked)
            server.kill()
            server.start()
        assert backlog > 1_000
        role.start()
        before, same = -1, 0
        async with asyncio.timeout(60):
            while same < 10:
                now = await site.stored()
                same = same + 1 if now == before and now > 0 else 0
                before = now
                await asyncio.sleep(0.2)
    # autosave_interval 1000: a change is a message queued or sent on, and some were on their way.
    found = site.judge(lost_at_most=1_500)
    assert found.stored > 0


@pytest.mark.tier_p
async def test_05_a_zombie_worker_that_wakes_commits_nothing(site: Site) -> None:
    with site.running(site.role("zombie")) as zombie:
        heir = site.role("heir")
        try:
            async with site.loaded(10_000, 500) as sending:
                await asyncio.sleep(2)
                os.kill(zombie.pid, signal.SIGSTOP)
                await asyncio.sleep(0.5)  # what the server has got of it by now is done
                stood = await site.stored()
                heir.start()
                async with asyncio.timeout(30):
                    while await site.stored() == stood:
                        await asyncio.sleep(0.1)
                assert not sending.done(), "nothing was left for the zombie to spoil"
                os.kill(zombie.pid, signal.SIGCONT)
                assert await zombie.ended() == 1, zombie.last_words()
            await site.settled(heir)
            assert heir.is_running(), heir.last_words()
        finally:
            heir.end()
    site.judge()
    words = zombie.last_words()
    assert any(word in words for word in ("took over", "stands at", "is over", "was claimed")), (
        words
    )
