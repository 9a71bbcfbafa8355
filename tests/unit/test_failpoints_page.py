"""The page of failpoints lists the points that there are."""

import re

from tests.servers import ROOT

PACKAGES = ("core", "devices", "ingest", "analytics", "alerts", "api", "simulators", "cityhub")


def test_every_failpoint_is_listed_and_no_other() -> None:
    sources = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    passed = {
        point
        for path in sources
        for point in re.findall(r'passing\("([a-z_.]+)"\)', path.read_text("utf-8"))
    }
    page = (ROOT / "docs" / "reference" / "failpoints.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", page, re.MULTILINE)) == passed
