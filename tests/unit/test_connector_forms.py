"""What each family of receivers is sent, against the published forms."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from alerts.connectors import cap, exchange
from alerts.connectors.alertmanager import NEVER
from alerts.connectors.alertmanager import render as alertmanager
from alerts.connectors.forms import FORMS
from alerts.message import CANCELLED, CLOSED, ISSUED, MAIN, REWORK, STEPS
from alerts.outbox import Message

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "cap-1.2.jsonl"
NS = f"{{{cap.NAMESPACE}}}"
# the order of elements in the schema of CAP 1.2 (OASIS, 1 July 2010, section 3.4)
ALERT = [
    "identifier", "sender", "sent", "status", "msgType", "source", "scope", "restriction",
    "addresses", "code", "note", "references", "incidents", "info",
]  # fmt: skip
INFO = [
    "language", "category", "event", "responseType", "urgency", "severity", "certainty",
    "audience", "eventCode", "effective", "onset", "expires", "senderName", "headline",
    "description", "instruction", "web", "contact", "parameter", "resource", "area",
]  # fmt: skip
AREA = ["areaDesc", "polygon", "circle", "geocode", "altitude", "ceiling"]
MUST = {"identifier", "sender", "sent", "status", "msgType", "scope"}
MUST_INFO = {"category", "event", "urgency", "severity", "certainty"}


def message(message_type: str = ISSUED, *, earlier: int = 0, **data: Any) -> Message:
    at = "2026-11-21T04:00:00+00:00"
    body = {
        "case_no": "FY-20261121-000001",
        "state": "dispatched",
        "severity": "red",
        "source": "sensor",
        "category": "component",
        "class_code": "0102",
        "title": {"zh": "井盖开启/缺失", "en": "cover open"},
        "description": {"zh": "倾角95°, 超过90° <&>\x07", "en": "tilt 95°"},
        "place": {"address": "东大街12号", "lon": 111.79, "lat": 37.26},
        "component": {"code": "1411820102000001", "name": "雨水井盖"},
        "grid": {"code": "14118200100101", "name": "东大街"},
        "department": {"code": "SZ", "name": {"zh": "市政所", "en": "Public works"}},
        "deadlines": {"on_site_due_at": None, "handle_due_at": "2026-11-21T12:00:00+00:00"},
        "times": {"reported_at": at, "filed_at": at},
        "order": {"order_no": "FY-1-R1", "issued_at": at, "instruction": "立即处置"},
        "verification": None,
        "alarm": {
            "rule_id": "cover_open",
            "device_id": "MH-1",
            "started_at": at,
            "unconfirmed": False,
        },
    } | data
    past = [
        {"key": f"FY-20261121-000001-{n + 1}", "time": at, "external_id": None}
        for n in range(earlier)
    ]
    now = datetime(2026, 11, 21, 4, tzinfo=UTC)
    return Message(
        outbox_id=1,
        case_no="FY-20261121-000001",
        key=f"FY-20261121-000001-{earlier + 1}",
        message_type=message_type,
        payload={"specversion": "1.0", "source": "cityhub/fenyang", "type": message_type,
                 "subject": "FY-20261121-000001", "time": at, "data": body},
        attempts=1,
        created_at=now,
        first_tried_at=now,
        earlier=past,
    )  # fmt: skip


def check_cap(text: bytes) -> ElementTree.Element:
    """Hold a document to the order, presence and values that the schema demands."""
    root = ElementTree.fromstring(text)  # noqa: S314 - our own text, and a vector
    assert root.tag == f"{NS}alert"
    _check(root, ALERT, MUST)
    for info in root.findall(f"{NS}info"):
        _check(info, INFO, MUST_INFO)
        for area in info.findall(f"{NS}area"):
            _check(area, AREA, {"areaDesc"})
    assert not root.findtext(f"{NS}sent", "").endswith("Z")
    for name in ("identifier", "sender"):
        assert not set(root.findtext(f"{NS}{name}", "")) & set(" ,<&")
    assert (root.findtext(f"{NS}references") is None) == (
        root.findtext(f"{NS}msgType") not in {"Update", "Cancel"}
    )
    return root


def _check(parent: ElementTree.Element, order: list[str], must: set[str]) -> None:
    names = [child.tag.removeprefix(NS) for child in parent]
    assert names == sorted(names, key=order.index)
    assert must <= set(names)


def test_the_check_of_cap_holds_for_the_published_example() -> None:
    if not VECTORS.exists():
        pytest.skip(f"the shared vectors are not there: {VECTORS}")
    vectors = [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()]
    for vector in vectors:
        root = check_cap(vector["payload"].encode())
        for name, value in vector["expected"].items():
            assert next(root.iter(f"{NS}{name}")).text == value


def test_a_first_warning_is_an_alert_in_both_languages() -> None:
    root = check_cap(cap.render(message(), {}) or b"")
    assert root.findtext(f"{NS}sent") == "2026-11-21T12:00:00+08:00"
    assert (root.findtext(f"{NS}msgType"), root.findtext(f"{NS}status")) == ("Alert", "Actual")
    zh, en = root.findall(f"{NS}info")
    assert (zh.findtext(f"{NS}language"), en.findtext(f"{NS}language")) == ("zh-CN", "en-US")
    assert (zh.findtext(f"{NS}severity"), zh.findtext(f"{NS}urgency")) == ("Extreme", "Immediate")
    assert zh.findtext(f"{NS}description") == "倾角95°, 超过90° <&> "
    assert zh.findtext(f"{NS}area/{NS}circle") == "37.260000,111.790000 0.1"


def test_later_warnings_refer_to_all_before_and_an_end_needs_a_beginning() -> None:
    update = check_cap(cap.render(message(REWORK, earlier=1), {}) or b"")
    assert update.findtext(f"{NS}msgType") == "Update"
    end = check_cap(cap.render(message(CLOSED, earlier=2), {"status": "Exercise"}) or b"")
    assert (end.findtext(f"{NS}msgType"), end.findtext(f"{NS}status")) == ("Cancel", "Exercise")
    assert (end.findtext(f"{NS}references") or "").split() == [
        f"cityhub/fenyang,FY-20261121-000001-{n},2026-11-21T12:00:00+08:00" for n in (1, 2)
    ]
    assert cap.render(message(CANCELLED), {}) is None


def test_a_case_without_sensor_or_place_is_a_warning_all_the_same() -> None:
    bare = message(
        alarm=None,
        title=None,
        order=None,
        place={"address": "", "lon": None, "lat": None},
        grid={"code": None, "name": ""},
        component={"code": None, "name": ""},
    )
    root = check_cap(cap.render(bare, {"scope": "Public"}) or b"")
    assert root.findtext(f"{NS}info/{NS}area/{NS}areaDesc") == "-"
    assert alertmanager(bare, {})["alerts"][0]["labels"]["alertname"] == "case_0102"


def test_alertmanager_fires_and_resolves_one_and_the_same_alert() -> None:
    firing = alertmanager(message(), {"external_url": "https://hub.example"})
    resolved = alertmanager(message(CLOSED, earlier=1), {})
    assert set(firing) == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels",
        "commonLabels", "commonAnnotations", "externalURL", "alerts",
    }  # fmt: skip
    assert (firing["version"], firing["status"], resolved["status"]) == ("4", "firing", "resolved")
    (fires,), (ends,) = firing["alerts"], resolved["alerts"]
    assert set(fires) == {
        "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"
    }  # fmt: skip
    assert (fires["endsAt"], ends["endsAt"]) == (NEVER, "2026-11-21T04:00:00+00:00")
    assert fires["fingerprint"] == ends["fingerprint"]
    assert fires["labels"] == ends["labels"]
    assert firing["groupKey"] == resolved["groupKey"]


def test_the_exchange_has_its_eight_forms_and_each_message_is_one() -> None:
    forms = (
        "问题登记单 问题核实单 问题反馈单 问题立案单 任务分派单 任务反馈单 结果核查单 结果反馈单"
    )
    assert list(exchange.FORMS) == forms.split()
    assert set(exchange.MESSAGES.values()) == set(exchange.FORMS)
    assert set(exchange.MESSAGES) == MAIN | set(STEPS.values())


def test_a_form_is_filled_from_the_case_under_the_citys_names() -> None:
    form = exchange.render(message(), {})
    assert form is not None
    assert (form["单据类型"], form["单据编号"]) == ("任务分派单", "FY-20261121-000001-1")
    assert (form["任务编号"], form["专业部门名称"], form["经度"]) == ("FY-1-R1", "市政所", 111.79)
    own = {"forms": {"任务分派单": {"案号": "data.case_no", "无": "data.verification.result"}}}
    assert exchange.render(message(), own) == {
        "单据类型": "任务分派单",
        "单据编号": "FY-20261121-000001-1",
        "案号": "FY-20261121-000001",
        "无": None,
    }


def test_a_message_of_an_unknown_type_is_no_form() -> None:
    assert exchange.render(message("cn.cityhub.else"), {}) is None


@pytest.mark.parametrize("kind", FORMS)
def test_the_same_message_gives_the_same_bytes(kind: str) -> None:
    first, again = (FORMS[kind](message(), {}) for _ in range(2))
    assert first is not None
    assert first == again
    assert first.content
