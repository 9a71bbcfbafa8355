"""The pages made from code are up to date, and what an operator needs is on them."""

import re
from collections.abc import Callable

import pytest

from api.figures import FAMILIES
from cityhub.reference import (
    counted,
    describe_api,
    describe_cli,
    describe_metrics,
    describe_openapi,
    describe_quarantine,
)
from core import metrics
from ingest.reasons import REASONS
from tests.servers import ROOT

PAGES: dict[str, Callable[[], str]] = {
    "cli.md": describe_cli,
    "api.md": describe_api,
    "metrics.md": describe_metrics,
    "quarantine.md": describe_quarantine,
}
PACKAGES = ("ingest", "analytics", "alerts", "api", "cityhub")
"""Where roles are; a figure that only tests move is none."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_made_from_code_is_up_to_date(name: str) -> None:
    page = (ROOT / "docs" / "reference" / name).read_text("utf-8")
    assert page == PAGES[name](), "run scripts/docs"


def test_the_page_takes_its_types_from_the_api_as_it_is() -> None:
    document = (ROOT / "api" / "web" / "openapi.json").read_text("utf-8")
    assert document == describe_openapi(), "run scripts/docs"


def test_every_figure_is_moved_by_some_role() -> None:
    sources = [path.read_text("utf-8") for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    code = "\n".join(sources)
    names = [name for name, value in vars(metrics).items() if value in counted()]
    moved = set(
        re.findall(r"\b([A-Z_]+)(?:\.labels\([^)]*\))?\.(?:inc|set|observe|time|set_f)", code)
    )
    assert [name for name in names if name not in moved] == []


def test_every_figure_is_documented_and_ours() -> None:
    page = describe_metrics()
    names = [family.name for one in counted() for family in one.describe()] + list(FAMILIES)
    assert all(name.startswith("cityhub_") for name in names)
    assert all(re.search(rf"^\| `{name}(_total)?` \|", page, re.MULTILINE) for name in names)
    assert len(set(names)) == len(names)


def test_every_reason_of_quarantine_is_listed() -> None:
    page = describe_quarantine()
    assert all(f"| `{code}` |" in page for code in REASONS)


def test_no_route_is_open_to_nobody_and_health_is_public() -> None:
    page = describe_api()
    assert "| nobody |" not in page
    assert "| `GET /healthz` | public |" in page
    assert "| `POST /api/v1/cases/{case_no}/verify` | staff |" in page


def test_every_command_says_what_it_does_and_hidden_arguments_stay_hidden() -> None:
    page = describe_cli()
    for command in ("up", "ingest", "migrate", "doctor", "device add DEVICE_ID", "import devices"):
        assert re.search(rf"^## `cityhub {command}", page, re.MULTILINE), command
    assert "--without" not in page
