"""The fault proxy over loopback: each fault does what it says, and heals."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from simulators.proxy import FaultProxy, Faults, Way

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Ends = tuple[FaultProxy, asyncio.StreamReader, asyncio.StreamWriter]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def connected(serve: Talk = echo, **options: object) -> AsyncIterator[Ends]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    async with FaultProxy("127.0.0.1", target, **options) as proxy:  # type: ignore[arg-type] # seed, watch
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield proxy, reader, writer
        finally:
            writer.close()
    server.close()


async def say(ends: Ends, words: bytes, wait: float = 5) -> tuple[bytes, float]:
    """Send words and return what comes back, and after how many seconds."""
    _, reader, writer = ends
    loop = asyncio.get_running_loop()
    start = loop.time()
    writer.write(words)
    async with asyncio.timeout(wait):
        return await reader.readexactly(len(words)), loop.time() - start


async def test_without_faults_all_bytes_pass_in_order() -> None:
    async with connected() as ends:
        words = bytes(range(256)) * 4_000
        assert (await say(ends, words))[0] == words
        assert ends[0].carried == {Way.UP: len(words), Way.DOWN: len(words)}
        assert ends[0].connections == 1


async def test_latency_and_jitter_delay_but_keep_the_order() -> None:
    async with connected(seed=1) as ends:
        ends[0].suffer(up=Faults(latency_s=0.1), down=Faults(latency_s=0.1, jitter_s=0.05))
        for i in range(5):
            words, took = await say(ends, b"%d" % i)
            assert words == b"%d" % i
            assert 0.2 <= took < 2


async def test_latency_does_not_limit_what_is_on_the_way() -> None:
    async with connected() as ends:
        ends[0].suffer(up=Faults(latency_s=0.2))
        _, reader, writer = ends
        for _ in range(10):
            writer.write(b"x")
            await asyncio.sleep(0.02)
        async with asyncio.timeout(1):
            await reader.readexactly(10)


async def test_bandwidth_is_shared_by_the_bytes() -> None:
    async with connected() as ends:
        ends[0].suffer(up=Faults(bandwidth=100_000))
        _, took = await say(ends, b"x" * 30_000)
        assert 0.3 <= took < 2


async def test_a_connection_is_reset_at_a_byte_and_the_next_one_too() -> None:
    got = bytearray()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                got.extend(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with connected(collect) as (proxy, reader, writer):
        proxy.suffer(up=Faults(reset_at=1_000))
        writer.write(b"x" * 999)
        await asyncio.sleep(0.1)
        assert len(got) == 999
        writer.write(b"y" * 10)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        assert len(got) <= 1_000
        again, other = await asyncio.open_connection("127.0.0.1", proxy.port)
        other.write(b"z" * 5_000)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(again.readexactly(1), 5)
        other.close()


async def test_a_black_hole_holds_everything_back_and_heals_without_a_gap() -> None:
    async with connected() as ends:
        ends[0].suffer(up=Faults(stalled=True), down=Faults(stalled=True))
        with pytest.raises(TimeoutError):
            await say(ends, b"lost?", 0.2)
        ends[0].suffer()
        assert (await say(ends, b" no"))[0] == b"los"


async def test_one_direction_alone_can_be_a_black_hole() -> None:
    async with connected() as ends:
        ends[0].suffer(down=Faults(stalled=True))
        with pytest.raises(TimeoutError):
            await say(ends, b"there", 0.2)
        assert ends[0].carried == {Way.UP: 5, Way.DOWN: 0}


async def test_a_half_open_connection_is_silent_for_one_side_and_over_for_the_other() -> None:
    over = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(100):
                pass
        except ConnectionError:
            pass
        over.set()
        writer.close()

    async with connected(watch) as (proxy, reader, writer):
        writer.write(b"hello")
        await asyncio.sleep(0.05)
        assert proxy.half_open() == 1
        await asyncio.wait_for(over.wait(), 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)


async def test_all_connections_can_be_reset_at_once() -> None:
    async with connected() as (proxy, reader, _):
        await asyncio.sleep(0.05)
        assert proxy.reset() == 1
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 5)


async def test_bytes_can_come_in_pieces() -> None:
    got: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            got.append(data)
        writer.close()

    async with connected(collect) as (proxy, _, writer):
        proxy.suffer(up=Faults(piece=3))
        writer.write(b"a" * 30)
        await asyncio.sleep(0.3)
        assert b"".join(got) == b"a" * 30
        assert len(got) > 2


async def test_bytes_can_be_slipped_in() -> None:
    async with connected() as (proxy, reader, _):
        await asyncio.sleep(0.05)
        proxy.inject(Way.UP, b"up")
        proxy.inject(Way.DOWN, b"down")
        async with asyncio.timeout(5):
            assert sorted(await reader.readexactly(6)) == sorted(b"updown")


async def test_a_word_can_switch_the_faults() -> None:
    def hang_up(way: Way, data: bytes) -> None:
        if way is Way.UP and b"COMMIT" in data:
            ends[0].suffer(down=Faults(stalled=True))

    async with connected(watch=hang_up) as ends:
        assert (await say(ends, b"COPY"))[0] == b"COPY"
        with pytest.raises(TimeoutError):
            await say(ends, b"COMMIT", 0.2)


async def test_a_target_that_is_away_costs_the_connection() -> None:
    async with FaultProxy("127.0.0.1", 1) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()
