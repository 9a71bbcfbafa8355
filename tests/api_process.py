"""The API as a process of its own, to be killed: ``python -m tests.api_process URL PORT``."""

import asyncio
import sys

from api.serve import run_serve
from core.clock import SystemClock
from core.db import open_pool
from tests.serving import FakeActions, api_settings


async def main(url: str, port: int) -> None:
    async with open_pool(url, 4, name="test api") as pool:
        await run_serve(
            pool=pool,
            url=url,
            settings=api_settings(port=port),
            clock=SystemClock(),
            actions=FakeActions(),
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
