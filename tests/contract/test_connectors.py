"""What the dispatcher relies on, held to by every connector, against a far side that misbehaves."""

import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from alerts.connectors.address import EVERYWHERE
from alerts.connectors.notify import SCHEMES, Notify, note, open_apprise
from alerts.outbox import Deliverer, Message
from alerts.receivers import TAKES, Receiver, Secrets, check, open_connector
from core.clock import ManualClock
from core.errors import ConfigError, DispatchFailedError, DispatchRefusedError
from simulators import webhook
from tests.desk import NOON
from tests.platform import Answer, Received, http, open_platform
from tests.unit.test_connector_forms import check_cap, message

IMGHDR = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
"""apprise loads it, up to Python 3.12."""

HTTP = ("webhook", "exchange", "cap", "alertmanager", "open311")


@dataclass
class FarSide:
    """The other end of a connector: what it took, by key, and how it answers."""

    connector: Deliverer
    took: Callable[[], dict[str, Any]]
    answers: list[Answer] = field(default_factory=list)
    break_down: Callable[[], None] = lambda: None
    mend: Callable[[], None] = lambda: None


def receiver(kind: str, url: str | None = None, **more: Any) -> Receiver:
    values: dict[str, Any] = {
        "name": "far", "kind": kind, "url": url, "changed_at": NOON, "changed_by": "test",
        "options": {"service_code": "42"} if kind == "open311" else {},
    } | more  # fmt: skip
    return check(Receiver(**values))


@dataclass
class Desk311:
    """An Open311 server that takes what comes and lists it."""

    requests: list[dict[str, str]] = field(default_factory=list)

    def answer(self, one: Received) -> Answer:
        if one.target.startswith("GET"):
            return http("200 OK", json.dumps(self.requests))
        return http("200 OK", json.dumps([{"service_request_id": self.take(one)}]))

    def take(self, one: Received) -> str:
        form = {name: value for name, (value,) in parse_qs(one.body.decode()).items()}
        number = f"SR-{len(self.requests) + 1}"
        self.requests.append({"service_request_id": number, "status": "open", **form})
        return number

    def by_key(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in self.requests:
            key = each["description"].rpartition("[")[2].rstrip("]")
            assert key not in found, "one order has two effects"
            found[key] = each
        return found


@asynccontextmanager
async def far_side(kind: str, folder: Path) -> AsyncIterator[FarSide]:
    secrets = Secrets(bytes(32), folder)
    taken: dict[str, Any] = {}
    desk, answers = Desk311(), list[Answer]()

    def answer(one: Received) -> Answer:
        told = answers.pop(0) if answers else b""
        if told != b"" and not isinstance(told, float):
            return told
        if kind == "open311":
            given = desk.answer(one)
        else:
            taken[one.key] = one
            given = http("200 OK", '{"external_id": "P-7"}')
        return told if isinstance(told, float) else given  # took it, and cannot say so

    if kind == "file":
        drop = folder / "drop"
        drop.mkdir()
        clock = ManualClock(NOON)
        async with open_connector(
            receiver(kind, str(drop)), secrets=secrets, networks=(), timeout_s=1, clock=clock
        ) as connector:
            yield FarSide(
                connector,
                lambda: {path.stem: path.read_bytes() for path in drop.glob("*")},
                break_down=lambda: void(drop.rename(folder / "away")),
                mend=lambda: void((folder / "away").rename(drop)),
            )
    elif kind == "notify":
        works = [True]

        def send(title: str, text: str) -> bool:
            if works[0]:
                taken[text] = title
            return works[0]

        yield FarSide(
            Notify(send, timeout_s=1),
            lambda: taken,
            break_down=lambda: works.__setitem__(0, False),
            mend=lambda: works.__setitem__(0, True),
        )
    elif kind == "null":
        async with open_connector(
            receiver(kind), secrets=secrets, networks=(), timeout_s=1, clock=ManualClock(NOON)
        ) as connector:
            yield FarSide(connector, dict)
    else:
        async with (
            open_platform(answer) as platform,
            open_connector(
                receiver(kind, platform.url),
                secrets=secrets,
                networks=EVERYWHERE,
                timeout_s=0.3,
                clock=ManualClock(NOON),
            ) as connector,
        ):
            yield FarSide(connector, desk.by_key if kind == "open311" else lambda: taken, answers)


def void(_: object) -> None:
    """Make a step of what would return something."""


def again(one: Message) -> Message:
    """The same message, in its next attempt."""
    return replace(one, attempts=one.attempts + 1)


@pytest.mark.parametrize("kind", TAKES)
async def test_a_message_arrives_and_a_repetition_has_no_second_effect(
    kind: str, tmp_path: Path
) -> None:
    async with far_side(kind, tmp_path) as far:
        await far.connector.deliver(message())
        first = dict(far.took())
        await far.connector.deliver(again(message()))
        assert len(first) == len(far.took()) == (0 if kind == "null" else 1)


@pytest.mark.parametrize("kind", sorted(set(TAKES) - {"null"}))
async def test_what_broke_down_is_told_apart_and_delivered_later(kind: str, tmp_path: Path) -> None:
    async with far_side(kind, tmp_path) as far:
        far.break_down()
        far.answers.append(http("503 Busy"))
        with pytest.raises(DispatchFailedError):
            await far.connector.deliver(message())
        assert far.took() == {}
        far.mend()
        await far.connector.deliver(again(message()))
        assert len(far.took()) == 1


@pytest.mark.parametrize("kind", HTTP)
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http("500 Oops"), id="500"),
        pytest.param(http("429 Slow down", Retry_After="7"), id="429"),
        pytest.param(http("302 Go", Location="http://127.0.0.1:1/"), id="redirect"),
        pytest.param(5.0, id="takes it, then says nothing"),
        pytest.param(None, id="hangs up"),
        pytest.param(b"\x00\xff garbage\r\n\r\n", id="garbage"),
    ],
)
async def test_what_may_pass_is_tried_again_with_one_effect(
    kind: str, answer: Answer, tmp_path: Path
) -> None:
    async with far_side(kind, tmp_path) as far:
        far.answers.append(answer)
        with pytest.raises(DispatchFailedError) as caught:
            await far.connector.deliver(message())
        assert caught.value.retry_after_s == (7.0 if answer and answer == http(
            "429 Slow down", Retry_After="7") else None)  # fmt: skip
        await far.connector.deliver(again(message()))
        assert list(far.took()) == [message().key]


@pytest.mark.parametrize("kind", HTTP)
async def test_a_refusal_for_good_is_told_apart(kind: str, tmp_path: Path) -> None:
    async with far_side(kind, tmp_path) as far:
        far.answers.append(http("403 Forbidden", "no key"))
        with pytest.raises(DispatchRefusedError, match="no key"):
            await far.connector.deliver(message())


@pytest.mark.parametrize("kind", HTTP)
async def test_an_answer_duplicate_counts_as_delivered(kind: str, tmp_path: Path) -> None:
    status = "400 Bad Request" if kind == "open311" else "409 Conflict"
    async with far_side(kind, tmp_path) as far:
        far.answers.append(http(status, '[{"code":400,"description":"Duplicate request"}]'))
        await far.connector.deliver(message())


@pytest.mark.parametrize("kind", ["webhook", "exchange", "cap", "alertmanager"])
async def test_what_is_posted_is_signed_over_the_bytes_that_are_sent(
    kind: str, tmp_path: Path
) -> None:
    async with far_side(kind, tmp_path) as far:
        await far.connector.deliver(message())
        (one,) = far.took().values()
        secret = Secrets(bytes(32), tmp_path).of(receiver(kind, "http://x"))
        assert secret is not None
        key = webhook.check(secret, one.headers, one.body, NOON.timestamp())
        assert key == one.headers["idempotency-key"] == message().key
        if kind == "cap":
            check_cap(one.body)
            assert one.headers["content-type"].startswith("application/cap+xml")


@pytest.mark.parametrize("kind", HTTP)
async def test_an_address_that_is_not_allowed_is_never_connected_to(
    kind: str, tmp_path: Path
) -> None:
    def answer(_: Received) -> Answer:
        raise AssertionError("it was connected to")

    async with open_platform(answer) as platform:
        for host in (
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "2130706433",
        ):
            url = platform.url.replace("127.0.0.1", host)
            async with open_connector(
                receiver(kind, url),
                secrets=Secrets(bytes(32), tmp_path),
                networks=[ip_network("10.0.0.0/8")],
                timeout_s=1,
                clock=ManualClock(NOON),
            ) as connector:
                with pytest.raises((DispatchRefusedError, DispatchFailedError)):
                    await connector.deliver(message())
        assert platform.received == []


async def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    async with far_side("file", tmp_path) as far:
        await far.connector.deliver(message())
        (path,) = (tmp_path / "drop").iterdir()
        assert path.name == f"{message().key}.json"
        assert stat.S_ISREG(path.stat().st_mode)
        assert json.loads(path.read_bytes())["id"] == message().key


async def test_an_open311_request_says_where_what_and_under_which_key(tmp_path: Path) -> None:
    async with far_side("open311", tmp_path) as far:
        assert await far.connector.deliver(message()) == "SR-1"
        (form,) = far.took().values()
        assert (form["service_code"], form["lat"], form["long"]) == (
            "42",
            "37.260000",
            "111.790000",
        )
        assert (form["device_id"], form["address_string"]) == ("MH-1", "东大街12号")
        assert form["description"].endswith(f"[{message().key}]")
        assert len(form["description"]) <= 4000


@IMGHDR
def test_apprise_knows_every_service_that_is_allowed() -> None:
    urls = {
        "dingtalk": "dingtalk://abcdefghijkl",
        "wecombot": "wecombot://abcdefghijklmnopqrstuvwxyz1234567890",
        "feishu": "feishu://abcdefghijklmnopqrst1234",
        "mailtos": "mailtos://user:password@mail.example.com?to=duty@example.com",
    }
    assert set(urls) <= SCHEMES
    open_apprise(list(urls.values()))


@IMGHDR
@pytest.mark.parametrize(
    ("urls", "sentence"),
    [
        ([], "at least one URL"),
        (["json://127.0.0.1/x"], "do not go to json"),
        (["file:///etc/passwd"], "do not go to file"),
        (["dingtalk://"], "cannot read"),
    ],
)
def test_a_target_that_could_reach_any_host_is_refused(urls: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        open_apprise(urls)


def test_a_note_says_what_happened_where_and_whose_it_is() -> None:
    title, text = note(message())
    assert title == "【新任务单】井盖开启/缺失"
    assert text.splitlines()[1:] == [
        "案件 FY-20261121-000001",
        "地点 东大街12号",
        "处置单位 市政所",
    ]
