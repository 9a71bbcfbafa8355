import asyncio
import base64
import hashlib
import hmac
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random

import pytest

from alerts.actions import StaffActions
from alerts.connectors.webhook import NAME, open_webhook
from alerts.dispatch import TRIP, Dispatcher
from alerts.dispatch_role import run_dispatch
from alerts.outbox import lease
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConfigError, ConflictError
from core.settings import Dispatch
from tests.desk import NOON, Desk, finding
from tests.platform import OK, Answer, Platform, Received, http, open_platform

DISPATCH = """
import asyncio, sys
from datetime import timedelta
from random import Random
from alerts.connectors.webhook import NAME, open_webhook
from alerts.dispatch import Dispatcher
from core.clock import SystemClock
from core.db import open_pool

async def main() -> None:
    clock = SystemClock()
    async with (
        open_pool(sys.argv[1], 2, name="dispatch") as pool,
        open_webhook(sys.argv[2], secret="s", timeout_s=5, clock=clock) as webhook,
    ):
        dispatcher = Dispatcher(
            pool, webhook, name=NAME, clock=clock, give_up=timedelta(hours=24), rng=Random(1)
        )
        while await dispatcher.step():
            pass

asyncio.run(main())
"""
STATE = "SELECT state, attempts, last_error FROM hub.outbox ORDER BY outbox_id"


@pytest.fixture
async def desk(pool: Pool) -> Desk:
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    return desk


async def orders(desk: Desk, count: int = 1) -> list[str]:
    """Make so many work orders; return the numbers of their cases."""
    covers = [await desk.cover(f"MH-{n}") for n in range(count)]
    await desk.find(*(finding(cover) for cover in covers))
    await desk.work()
    return [no for (no,) in await desk.rows("SELECT case_no FROM hub.case ORDER BY case_no")]


@asynccontextmanager
async def dispatching(
    desk: Desk, answer: Callable[[Received], Answer], timeout_s: float = 5
) -> AsyncIterator[tuple[Platform, Dispatcher]]:
    async with (
        open_platform(answer) as platform,
        open_webhook(platform.url, secret="s", timeout_s=timeout_s, clock=desk.clock) as webhook,
    ):
        yield (
            platform,
            Dispatcher(
                desk.pool,
                webhook,
                name=NAME,
                clock=desk.clock,
                give_up=timedelta(hours=24),
                rng=Random(1),
            ),
        )


def one_by_one(*answers: Answer) -> Callable[[Received], Answer]:
    left: Iterator[Answer] = iter(answers)
    return lambda _: next(left)


async def test_an_order_arrives_signed_complete_and_once(desk: Desk) -> None:
    (case_no,) = await orders(desk)
    async with dispatching(desk, lambda _: OK) as (platform, dispatcher):
        assert await dispatcher.step() == 1
        assert await dispatcher.step() == 0
    (one,) = platform.received
    key = f"{case_no}-1"
    stamp = str(int(NOON.timestamp()))
    digest = hmac.new(b"s", f"{key}.{stamp}.".encode() + one.body, hashlib.sha256).digest()
    assert one.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert one.headers["webhook-timestamp"] == stamp
    assert one.headers["idempotency-key"] == one.headers["webhook-id"] == one.event["id"] == key
    assert one.event["specversion"] == "1.0"
    assert one.event["type"] == "cn.cityhub.work_order.issued"
    data = one.event["data"]
    assert data["description"]["zh"] == "井盖开启/缺失：倾角95°, 超过90°"
    assert data["deadlines"]["on_site_due_at"] == "2026-11-21T04:30:00+00:00"
    assert await desk.rows(STATE) == [("delivered", 1, None)]
    assert await desk.row("SELECT external_no FROM hub.case") == ("P-7",)
    (detail,) = await desk.row("SELECT detail FROM hub.case_event WHERE action = 'delivered'")
    assert (detail["key"], detail["external_id"]) == (key, "P-7")


@pytest.mark.tier_p
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(http("500 Oops", "sorry"), "answered 500: sorry", id="500"),
        pytest.param(http("503 Busy"), "answered 503", id="503"),
        pytest.param(http("408 Slow"), "answered 408", id="408"),
        pytest.param(http("302 Go", Location="http://127.0.0.1:1/"), "answered 302", id="redirect"),
        pytest.param(60.0, "no answer within 0.2 s", id="accepts then times out"),
        pytest.param(None, "no answer", id="hangs up"),
        pytest.param(b"\x00\xff garbage\r\n\r\n", "no answer", id="garbage"),
    ],
)
async def test_row_20_what_may_pass_is_tried_again_under_the_same_key(
    desk: Desk, answer: Answer, error: str
) -> None:
    (case_no,) = await orders(desk)
    answers = one_by_one(answer, answer, OK)
    async with dispatching(desk, answers, timeout_s=0.2) as (platform, dispatcher):
        assert await dispatcher.step() == 1
        ((state, attempts, last_error),) = await desk.rows(STATE)
        assert (state, attempts) == ("queued", 1)
        assert error in last_error
        assert await dispatcher.step() == 0
        desk.clock.advance(5)
        assert await dispatcher.step() == 1
        desk.clock.advance(10)
        assert await dispatcher.step() == 1
    assert platform.keys == [f"{case_no}-1"] * 3
    assert await desk.rows(STATE) == [("delivered", 3, None)]


async def test_row_20_retry_after_is_honoured(desk: Desk) -> None:
    await orders(desk)
    answers = one_by_one(http("429 Too Many", Retry_After="120"), OK)
    async with dispatching(desk, answers) as (_, dispatcher):
        assert await dispatcher.step() == 1
        desk.clock.advance(119)
        assert await dispatcher.step() == 0
        desk.clock.advance(1)
        assert await dispatcher.step() == 1


async def test_a_duplicate_counts_as_delivered(desk: Desk) -> None:
    await orders(desk)
    async with dispatching(desk, lambda _: http("409 Conflict", "have it")) as (_, dispatcher):
        await dispatcher.step()
    assert await desk.rows(STATE) == [("delivered", 1, None)]


async def test_an_answer_that_is_no_json_is_delivered_all_the_same(desk: Desk) -> None:
    await orders(desk)
    async with dispatching(desk, lambda _: http("202 Fine", "[" * 40_000)) as (_, dispatcher):
        await dispatcher.step()
    assert await desk.rows(STATE) == [("delivered", 1, None)]
    assert await desk.row("SELECT external_no FROM hub.case") == (None,)


async def test_an_endless_answer_is_cut(desk: Desk) -> None:
    await orders(desk)
    flood = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 1_000_000
    async with dispatching(desk, lambda _: flood) as (_, dispatcher):
        await dispatcher.step()
    assert await desk.rows(STATE) == [("delivered", 1, None)]


@pytest.mark.parametrize("status", ["400 Bad", "401 Who", "404 Gone", "422 No"])
async def test_what_is_refused_for_good_is_a_dead_letter_that_a_person_resends(
    desk: Desk, status: str
) -> None:
    (case_no,) = await orders(desk)
    staff = StaffActions(desk.pool, desk.clock, NAME)
    answers = one_by_one(http(status, "no"), OK)
    async with dispatching(desk, answers) as (platform, dispatcher):
        await dispatcher.step()
        assert (await desk.rows(STATE))[0][0] == "dead"
        desk.clock.advance(86_400)
        assert await dispatcher.step() == 0
        assert "delivery_failed" in await desk.actions_of("case")
        await staff.resend(1, actor="wang")
        with pytest.raises(ConflictError, match="not dead"):
            await staff.resend(1, actor="wang")
        assert await dispatcher.step() == 1
    assert platform.keys == [f"{case_no}-1"] * 2
    assert await desk.rows(STATE) == [("delivered", 1, None)]


async def test_an_order_is_given_up_after_a_day(desk: Desk) -> None:
    await orders(desk)
    async with dispatching(desk, lambda _: http("500 Oops")) as (platform, dispatcher):
        for _ in range(400):
            await dispatcher.step()
            if (await desk.rows(STATE))[0][0] == "dead":
                break
            desk.clock.advance(900)
    assert desk.clock.now() - NOON >= timedelta(hours=24)
    assert 45 < len(platform.received) < 100  # soon a quarter of an hour apart, no more


async def test_messages_of_one_case_leave_in_order_and_a_dead_one_blocks_no_other(
    desk: Desk,
) -> None:
    first, second = await orders(desk, 2)
    staff = StaffActions(desk.pool, desk.clock, NAME)
    for case_no in (first, second):
        await staff.return_(case_no, actor="crew", reason="not ours")
        await staff.dispatch(case_no, actor="wang", dept="LD")

    def answer(one: Received) -> Answer:
        return http("404 Gone") if one.key == f"{first}-2" else OK

    async with dispatching(desk, answer) as (platform, dispatcher):
        while await dispatcher.step():
            pass
        assert [key for key in platform.keys if key.startswith(first)] == [
            f"{first}-1",
            f"{first}-2",
        ]
        assert [key for key in platform.keys if key.startswith(second)] == [
            f"{second}-{n}" for n in (1, 2, 3)
        ]
        desk.clock.advance(86_400)
        assert await dispatcher.step() == 0
    assert await desk.row("SELECT state FROM hub.outbox WHERE key = %s", [f"{first}-3"]) == (
        "queued",
    )


async def test_two_dispatchers_never_hold_the_same_message(desk: Desk) -> None:
    await orders(desk, 12)
    taken = await asyncio.gather(*(lease(desk.pool, NAME, desk.clock.now(), 4) for _ in range(4)))
    ids = [message.outbox_id for messages in taken for message in messages]
    assert len(ids) == len(set(ids))
    rest = await lease(desk.pool, NAME, desk.clock.now(), 50)
    assert len(ids) + len(rest) == 12
    assert not await lease(desk.pool, NAME, desk.clock.now(), 50)
    desk.clock.advance(60)
    assert len(await lease(desk.pool, NAME, desk.clock.now(), 50)) == 12


async def test_a_platform_that_is_down_is_only_probed(desk: Desk) -> None:
    await orders(desk, 40)
    up = False

    def answer(_: Received) -> Answer:
        return OK if up else http("503 Down")

    async with dispatching(desk, answer) as (platform, dispatcher):
        await dispatcher.step()
        assert len(platform.received) >= TRIP
        assert await dispatcher.step() == 0  # nothing before the pause is over
        for _ in range(20):
            desk.clock.advance(30)
            before = len(platform.received)
            await dispatcher.step()
            assert len(platform.received) - before <= 1
        up = True
        for _ in range(60):
            desk.clock.advance(900)
            while await dispatcher.step():
                pass
    assert {state for state, _, _ in await desk.rows(STATE)} == {"delivered"}


@pytest.mark.tier_p
@pytest.mark.parametrize(
    ("point", "sent"), [("dispatch.before_send", 1), ("dispatch.after_send", 2)]
)
async def test_row_21_a_crash_around_sending_loses_nothing_and_keeps_the_key(
    desk: Desk, database: str, point: str, sent: int
) -> None:
    (case_no,) = await orders(desk)
    async with open_platform(lambda _: OK) as platform:
        assert await run_dispatcher(database, platform.url, f"{point}:kill") == -signal.SIGKILL
        assert (await desk.rows(STATE))[0][0] == "sending"
        assert await run_dispatcher(database, platform.url, "") == 0
        assert (await desk.rows(STATE))[0][0] == "sending"  # the lease of the dead still runs
        await desk.run("UPDATE hub.outbox SET leased_until = now()")
        assert await run_dispatcher(database, platform.url, "") == 0
    assert platform.keys == [f"{case_no}-1"] * sent
    assert await desk.rows(STATE) == [("delivered", 2, None)]
    assert (await desk.actions_of("case")).count("delivered") == 1


async def run_dispatcher(database: str, url: str, failpoint: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DISPATCH,
        database,
        url,
        env=os.environ | {"CITYHUB_FAILPOINT": failpoint},
        stderr=subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        return await process.wait()


async def test_a_receiver_that_hangs_delays_only_its_own_case(desk: Desk, database: str) -> None:
    hung = await orders(desk)

    def answer(one: Received) -> Answer:
        return 60.0 if one.key.startswith(hung[0]) else OK

    async with open_platform(answer) as platform:
        settings = Dispatch.model_validate({"url": platform.url, "secret": "s", "timeout_s": 30})
        role = asyncio.create_task(
            run_dispatch(pool=desk.pool, url=database, settings=settings, clock=desk.clock)
        )
        async with asyncio.timeout(10):
            while not platform.received:
                await asyncio.sleep(0.02)
            covers = [await desk.cover(f"MH-later-{n}") for n in range(20)]
            await desk.find(*(finding(cover) for cover in covers))
            await desk.work()
            done = "SELECT count(*) FROM hub.outbox WHERE state = 'delivered'"
            while await desk.row(done) != (20,):
                await asyncio.sleep(0.02)
        role.cancel()
        await asyncio.gather(role, return_exceptions=True)
    assert platform.keys.count(f"{hung[0]}-1") == 1
    assert len(platform.keys) == 21


async def test_the_role_delivers_what_comes_while_it_runs(desk: Desk, database: str) -> None:
    async with open_platform(lambda _: OK) as platform:
        settings = Dispatch.model_validate({"url": platform.url, "secret": "s"})
        role = asyncio.create_task(
            run_dispatch(pool=desk.pool, url=database, settings=settings, clock=desk.clock)
        )
        (case_no,) = await orders(desk)
        async with asyncio.timeout(10):
            while await desk.rows(STATE) != [("delivered", 1, None)]:
                await asyncio.sleep(0.02)
        role.cancel()
        await asyncio.gather(role, return_exceptions=True)
    assert platform.keys == [f"{case_no}-1"]


async def test_the_role_refuses_a_timeout_longer_than_a_lease(desk: Desk) -> None:
    settings = Dispatch(url="http://127.0.0.1:1", timeout_s=90)
    with pytest.raises(ConfigError, match="timeout_s must be below 60"):
        await run_dispatch(pool=desk.pool, url="", settings=settings, clock=desk.clock)
