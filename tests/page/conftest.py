"""A hub with the simulated city at rest, and Debian's Chromium to look at its page with."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from api.routers.page import is_built
from tests.e2e.hub import Up, running
from tests.page.seat import Seat
from tests.servers import missing, open_folder

_CHROMIUM = "/usr/bin/chromium"
_PATIENCE_MS = 15_000
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=user-gesture-required"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a graphics card.

    Only for this package: while it is open its driver's event loop runs in the main thread, and no
    other test could run one.
    """
    if shutil.which(_CHROMIUM) is None:
        missing("Chromium", "apt-get install chromium fonts-noto-cjk")
    if not is_built():
        missing("the built page", "scripts/page --check")
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def up() -> Iterator[Up]:
    """A whole hub with its simulated city."""
    with open_folder() as folder, running(Up(Path(folder), "--demo")) as hub:
        yield hub


@pytest.fixture
def context(browser: Browser, up: Up) -> Iterator[BrowserContext]:
    """A browser of its own: no cookie, no storage, Chinese, desktop size."""
    made = browser.new_context(
        base_url=str(up.facts["api_url"]),
        viewport={"width": 1600, "height": 900},
        locale="zh-CN",
        timezone_id="America/New_York",  # a browser far away must still show the city's time
    )
    made.set_default_timeout(_PATIENCE_MS)
    yield made
    made.close()


@pytest.fixture
def seat(context: BrowserContext, up: Up) -> Iterator[Seat]:
    """A seat of the command centre, which fails the test if the page complained."""
    sat = Seat(context, up)
    yield sat
    sat.must_be_clean()
