"""The frame of every page: language, head, navigation, time as the city has it, form tokens."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from api.auth import SESSION_COOKIE
from api.deps import Parts
from api.lite import words
from api.lite.markup import Html, join, tag
from api.shapes import Words
from core.model import Text

FORM_COOKIE: Final = "cityhub_form"
LANGUAGE_COOKIE: Final = "cityhub_lang"
REFRESH_S: Final = 10
_YEAR_S: Final = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Frame:
    """What a page needs to know of its reader.

    Attributes:
        request: What was asked for.
        hub: The hub's parts.
        lang: ``zh`` or ``en``.
        token: Proves that a form came from a page of ours.
        now: The hub's time.
    """

    request: Request
    hub: Parts
    lang: str
    token: str
    now: datetime

    @property
    def zone(self) -> ZoneInfo:
        """The city's time zone."""
        return self.hub.zone

    def say(self, text: Text | Words) -> str:
        """Return a text in the reader's language; where it is missing, in the other."""
        zh, en = text.zh, text.en
        return (zh or en) if self.lang == "zh" else (en or zh)

    def link(self, **changes: str | None) -> str:
        """Return the address of this page with other parameters; None drops one."""
        query = {
            key: value
            for key, value in {**self.request.query_params, **changes}.items()
            if value is not None and key != "said"
        }
        path = self.request.url.path
        return f"{path}?{urlencode(query)}" if query else path

    def time(self, at: datetime | None) -> Html:
        """Return a time in the city's zone with seconds, and how long ago beside it."""
        if at is None:
            return Html("–")
        local = at.astimezone(self.zone)
        near = abs((self.now - at).days) < 300  # noqa: PLR2004 - the year says itself
        shown = f"{local:%m-%d %H:%M:%S}" if near else f"{local:%Y-%m-%d %H:%M:%S}"
        stamp = tag("time", shown, datetime=at.isoformat(), title=f"{local:%Y-%m-%d %H:%M:%S %Z}")
        return join(stamp, " ", tag("span", self.age(at), class_="age"))

    def age(self, at: datetime) -> str:
        """Return how long ago, or how far ahead, a time is, in its greatest unit."""
        seconds = round((self.now - at).total_seconds())
        count, unit = _span(abs(seconds))
        if self.lang == "zh":
            return f"{count} {unit.zh}{'前' if seconds >= 0 else '后'}"
        return f"{count} {unit.en} ago" if seconds >= 0 else f"in {count} {unit.en}"

    def span(self, seconds: float) -> str:
        """Return a length of time in its two greatest units."""
        whole = round(seconds)
        count, unit = _span(whole)
        size = {"d": 86_400, "h": 3_600, "min": 60}.get(unit.en, 1)
        parts = [(count, unit)]
        if rest := whole - count * size:
            parts.append(_span(rest))
        if self.lang == "zh":
            return " ".join(f"{count} {unit.zh}" for count, unit in parts)
        return " ".join(f"{count} {unit.en}" for count, unit in parts)

    def form(self, action: str, *children: Html | None, class_: str | None = None) -> Html:
        """Return a form that posts to an address, with its token."""
        hidden = tag("input", type="hidden", name="form", value=self.token)
        return tag("form", hidden, *children, method="post", action=action, class_=class_)

    def respond(
        self,
        title: str,
        *body: Html | None,
        here: str = "",
        refresh: bool = False,
        status: int = 200,
    ) -> HTMLResponse:
        """Return a whole page.

        Args:
            title: Of the page.
            body: Its content.
            here: Which tab it belongs to.
            refresh: Load it anew every 10 s, unless the reader has paused that.
            status: The HTTP status.
        """
        paused = self.request.query_params.get("refresh") == "off"
        page = Html("<!doctype html>\n") + tag(
            "html",
            self._head(title, refresh and not paused),
            tag(
                "body",
                tag("a", self.say(words.SKIP), href="#main", class_="skip"),
                self._banner(here),
                tag("main", self._said(), *body, id="main"),
                self._foot(refresh, paused),
            ),
            lang="zh-CN" if self.lang == "zh" else "en",
        )
        response = HTMLResponse(page, status, headers={"Vary": "Accept-Language, Cookie"})
        if self.request.cookies.get(FORM_COOKIE) != self.token:
            response.set_cookie(FORM_COOKIE, self.token, httponly=True, samesite="strict")
        if self.request.query_params.get("lang") == self.lang:
            response.set_cookie(
                LANGUAGE_COOKIE, self.lang, max_age=_YEAR_S, httponly=True, samesite="lax"
            )
        return response

    def _head(self, title: str, refresh: bool) -> Html:
        city = self.say(Text(self.hub.settings.city.name_zh, self.hub.settings.city.name_en))
        again = f"{REFRESH_S}; url={self.link()}"
        return tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="dark light"),
            tag("meta", http_equiv="refresh", content=again) if refresh else None,
            tag("title", f"{title} · {city}"),
            tag("link", rel="stylesheet", href="/lite/style.css"),
            tag("link", rel="icon", href="/lite/icon.svg", type="image/svg+xml"),
        )

    def _banner(self, here: str) -> Html:
        city = self.hub.settings.city
        tabs = (("alarms", "/lite", words.ALARMS), ("cases", "/lite/cases", words.CASES),
                ("devices", "/lite/devices", words.DEVICES),
                ("quarantine", "/lite/quarantine", words.QUARANTINE),
                ("bulletin", f"/lite/bulletin/{self.now.astimezone(self.zone):%Y-%m}",
                 words.REPORTS))  # fmt: skip
        other, label = ("en", "English") if self.lang == "zh" else ("zh", "中文")
        logged_in = SESSION_COOKIE in self.request.cookies and self.hub.gate.wants_login
        return tag(
            "header",
            tag(
                "a",
                tag("strong", self.say(Text(city.name_zh, city.name_en))),
                " ",
                tag("span", self.say(words.TITLE)),
                href="/lite",
                class_="brand",
            ),
            tag(
                "nav",
                *(
                    tag(
                        "a",
                        self.say(text),
                        href=href,
                        aria_current="page" if key == here else None,
                    )
                    for key, href, text in tabs
                ),
                aria_label=self.say(words.PAGES),
            ),
            tag(
                "div",
                tag("span", f"{self.now.astimezone(self.zone):%Y-%m-%d %H:%M:%S}", class_="clock"),
                tag(
                    "a",
                    label,
                    href=self.link(lang=other),
                    hreflang=other,
                    lang="en" if other == "en" else "zh-CN",
                ),
                self.form("/lite/logout", tag("button", self.say(words.LOGOUT), class_="quiet"))
                if logged_in
                else None,
                class_="tools",
            ),
        )

    def _said(self) -> Html | None:
        text = words.SAID.get(self.request.query_params.get("said", ""))
        return tag("p", self.say(text), class_="said", role="status") if text else None

    def _foot(self, refresh: bool, paused: bool) -> Html:
        if not refresh:
            note = join(self.say(words.STILL))
        elif paused:
            note = join(
                self.say(words.PAUSED),
                " · ",
                tag("a", self.say(words.RESUME), href=self.link(refresh=None)),
            )
        else:
            note = join(
                self.say(words.REFRESHING),
                " · ",
                tag("a", self.say(words.PAUSE), href=self.link(refresh="off")),
            )
        return tag(
            "footer",
            tag("p", note),
            tag("p", self.say(words.MAIN_PAGE_LATER)),
        )


def frame_of(request: Request) -> Frame:
    """Return the frame of a request."""
    hub: Parts = request.app.state.parts
    token = request.cookies.get(FORM_COOKIE, "")
    if len(token) != 32:  # noqa: PLR2004 - the length that we make
        token = secrets.token_hex(16)
    return Frame(request, hub, _language(request), token, hub.clock.now())


Page = Annotated[Frame, Depends(frame_of)]


def _language(request: Request) -> str:
    for choice in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if choice in {"zh", "en"}:
            return choice
    return _preferred(request.headers.get("accept-language", ""))


def _preferred(accepted: str) -> str:
    """Return the language of ours that a browser likes best.

    >>> _preferred("fr, en;q=0.8, zh-CN;q=0.9"), _preferred("en-GB,en"), _preferred("")
    ('zh', 'en', 'zh')
    """
    liked: list[tuple[float, str]] = []
    for item in accepted.split(","):
        code, _, weight = item.strip().partition(";q=")
        language = code.strip().lower()[:2]
        if language in {"zh", "en"}:
            try:
                liked.append((float(weight or 1), language))
            except ValueError:
                continue
    return max(liked, key=lambda pair: pair[0])[1] if liked else "zh"


def _span(seconds: int) -> tuple[int, Text]:
    for size, unit in (
        (86_400, Text("天", "d")),
        (3_600, Text("小时", "h")),
        (60, Text("分钟", "min")),
    ):
        if seconds >= size:
            return seconds // size, unit
    return seconds, Text("秒", "s")
