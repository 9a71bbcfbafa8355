"""Everybody can use the page: axe finds nothing on any page, theme or language."""

import pytest

from tests.e2e.hub import Up
from tests.page.seat import Seat, covers, tilt
from tests.servers import ROOT

AXE = ROOT / "api" / "web" / "node_modules" / "axe-core" / "axe.min.js"
PAGES = ("/", "/cases", "/devices", "/handover", "/reports", "/wall")
_RUN = """
axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
   .then(found => found.violations.map(v => `${v.id}: ${v.nodes.map(n => n.target).join(" ")}`))
"""


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing(seat: Seat, up: Up, path: str) -> None:
    if path == "/":
        (cover,) = covers(up, 1)
        tilt(up, cover)
        seat.open()
        seat.row(cover).click()
        path = seat.page.url
    found: dict[str, list[str]] = {}
    for language in ("zh", "en"):
        for theme in ("dark", "light"):
            page = seat.open_view(path, lang=language, theme=theme)
            page.wait_for_timeout(700)
            page.evaluate(AXE.read_text("utf-8"))
            found[f"{language} {theme}"] = page.evaluate(_RUN)
    assert found == {name: [] for name in found}
