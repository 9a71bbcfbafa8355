"""Sites to break, and a table of faults at the end of a run: a line each, with what was lost."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from cityhub.folder import DataFolder
from cityhub.postgres import EmbeddedPostgres
from core.migrate import migrate
from tests.e2e.faults.site import Broker, Site, open_mosquitto, open_nats
from tests.servers import Mosquitto, Nats, open_folder

_NAME: Final = re.compile(r"test_(?P<row>\d+)_(?P<words>\w+)(?:\[(?P<case>.*)\])?$")
_JUDGED: Final = ("sent", "lost", "twice", "disorder", "alarms", "feed")


@pytest.fixture(params=["mosquitto", "nats"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn, with a login that speaks for all devices."""
    if request.param == "nats":
        return open_nats(request.getfixturevalue("nats"))
    return open_mosquitto(request.getfixturevalue("mosquitto"))


@pytest.fixture
async def site(
    database: str, broker: Broker, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """A site with either broker."""
    async with Site(database, broker, tmp_path, request.node) as site:
        yield site


@pytest.fixture
async def nats_site(
    database: str, nats: Nats, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """A site with the embedded broker."""
    async with Site(database, open_nats(nats), tmp_path, request.node) as site:
        yield site


@pytest.fixture
async def mosquitto_site(
    database: str, mosquitto: Mosquitto, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """A site with mosquitto."""
    async with Site(database, open_mosquitto(mosquitto), tmp_path, request.node) as site:
        yield site


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that a test may stop; migrated."""
    with open_folder() as path, DataFolder(path) as folder:
        server = EmbeddedPostgres(folder, home=None, port=0, say=lambda _: None)
        asyncio.run(server.start())
        try:
            migrate(server.url)
            yield server
        finally:
            server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line a fault: what was sent, lost, stored twice, out of order."""
    lines = []
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            line = _line(report, outcome)
            if line is not None:
                lines.append(line)
    if not lines:
        return
    terminalreporter.section("faults: what was lost, and what else was wrong")
    terminalreporter.write_line(
        f"{'row':>3}  {'sent':>6} {'lost':>5} {'twice':>5} {'disorder':>8}"
        f" {'alarms':>6} {'feed':>4} {'s':>6}  fault"
    )
    for _, text in sorted(lines):
        terminalreporter.write_line(text)


def _line(report: object, outcome: str) -> tuple[tuple[int, str], str] | None:
    if not isinstance(report, pytest.TestReport) or not {"tier_p", "tier_n"} & set(report.keywords):
        return None
    found = _NAME.search(report.nodeid)
    if found is None or (report.when != "call" and outcome == "passed"):
        return None
    row, words = int(found["row"]), found["words"].replace("_", " ")
    case = f" ({found['case']})" if found["case"] else ""
    judged = dict(report.user_properties)
    if "sent" in judged:
        figures = [str(judged.get(name, "-")) for name in _JUDGED]
    else:
        figures = ["held" if outcome == "passed" else "-", *("-" * (len(_JUDGED) - 1))]
    widths = (6, 5, 5, 8, 6, 4)
    told = " ".join(text.rjust(width) for text, width in zip(figures, widths, strict=True))
    end = "" if outcome == "passed" else f"  {outcome.upper()}"
    text = f"{row:>3}  {told} {report.duration:>6.1f}  {words}{case}{end}"
    return (row, words + case), text
