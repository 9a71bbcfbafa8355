"""Rows 1, 3 and 5: whatever is killed or stopped, what was acknowledged is there, once, in order.

A run without a kill inside COMMIT, or without a message that had to come again, proves nothing and
fails. The whole ``up``, and its broker with a backlog, are killed in ``test_hub_killed.py``.
"""

import asyncio
import os
import random
import signal

import pytest

from core.db import open_pool
from devices.rule_store import By, Target, put_rule
from simulators.load import THEFT
from tests.e2e.evidence import delivered_again
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
async def test_01_a_worker_killed_at_five_points_and_at_random(site: Site) -> None:
    rng = random.Random(1)
    with site.running(site.role()) as role:
        async with site.loaded(1_000):
            await asyncio.sleep(rng.uniform(1.0, 2.0))
            role.kill()
            for point in POINTS:
                role.start(f"{point}:kill@{rng.randint(1, 3)}")
                assert await role.ended() == -signal.SIGKILL, role.last_words()
            role.start()
        await site.settled(role)
        if site.broker.has_log:  # it leaves no trace in the database: its server is the witness
            again = await asyncio.to_thread(delivered_again, site.broker.hub_url)
        else:
            again = await site.duplicates()
        assert again > 0, "no redelivery was seen: the run is invalid"
        await site.judge()


@pytest.mark.tier_p
async def test_01_a_theft_while_the_worker_was_dead_sounds_when_the_next_one_reads_it(
    nats_site: Site,
) -> None:
    """What waited for the hub in its log is not late by that: it files and goes out."""
    site, target = nats_site, Target(kind="manhole_cover", rule_id=THEFT[1], scope="kind")
    with site.running(site.role()) as role:
        async with open_pool(site.database, 1, name="test") as pool:
            await put_rule(
                pool,
                target,
                {"allowed_lateness_s": 2.0},
                By(actor="test", at=site.clock.now(), reason="an outage of ten minutes in two"),
            )
        role.kill()
        async with site.loaded(400, 800):
            pass
        await asyncio.sleep(4)
        role.start()
        await site.settled(role)
        await site.judge()


@pytest.mark.tier_p
async def test_03_mosquitto_killed_with_a_backlog_stays_within_the_documented_bound(
    mosquitto_site: Site,
) -> None:
    """It acknowledges what it holds in memory: what came since its last save may be lost."""
    site, server = mosquitto_site, mosquitto_site.broker.server
    assert isinstance(server, Mosquitto)
    with site.running(site.role()) as role:
        role.kill()
        # an alarm may be among what is lost: none is expected
        async with site.loaded(2_000, 6_000, thefts=0) as sending:
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
        # autosave_interval 1000: a change is a message queued or sent on; some were on their way.
        found = await site.judge(lost_at_most=1_500)
    assert found.stored > 0


@pytest.mark.tier_p
async def test_05_a_zombie_worker_that_wakes_commits_nothing(site: Site) -> None:
    with site.running(site.role("zombie")) as zombie:
        heir = site.role("heir")
        try:
            async with site.loaded(1_000):
                await asyncio.sleep(2)
                os.kill(zombie.pid, signal.SIGSTOP)
                await asyncio.sleep(0.5)  # what the server has got of it by now is done
                stood = await site.stored()
                heir.start()
                async with asyncio.timeout(30):
                    while await site.stored() == stood:
                        await asyncio.sleep(0.1)
                os.kill(zombie.pid, signal.SIGCONT)
                assert await zombie.ended() == 1, zombie.last_words()
            await site.settled(heir)
            assert heir.is_running(), heir.last_words()
            await site.judge()
        finally:
            heir.end()
    words = zombie.last_words()
    assert any(word in words for word in ("took over", "stands at", "is over", "was claimed")), (
        words
    )
