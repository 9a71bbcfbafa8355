"""The native format read with every check: what is taken, and the reason for what is not."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ingest
from core.errors import PayloadError
from devices import KINDS
from ingest.envelopes import native
from ingest.reasons import REASONS
from tests.intake import COVER, NOON_MICROS
from tests.malformed import BROKEN_RECORDS


def read(payload: bytes, kind: str = "manhole_cover") -> list[native.Record]:
    return [
        native.read_record(fields, KINDS[kind])
        for _, fields in native.records(native.parse(payload), 500)
        if native.child_of(fields) is None
    ]


def code_of(payload: bytes, kind: str = "manhole_cover") -> str | None:
    """Return why a payload is refused, or None."""
    try:
        read(payload, kind)
    except PayloadError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("code", "payload"), [(code, p) for code, several in BROKEN_RECORDS.items() for p in several]
)
def test_each_fault_has_its_own_reason(code: str, payload: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        read(payload)
    assert caught.value.code == code


def test_every_reason_has_a_sentence_in_both_languages() -> None:
    source = "".join(path.read_text("utf-8") for path in Path(ingest.__path__[0]).rglob("*.py"))
    used = set(re.findall(r'(?:PayloadError|code=|Refusal\(\w+,)\(?"(\w+)"', source))
    assert used <= REASONS.keys()
    assert all(r.text.zh.endswith("。") and r.text.en.endswith(".") for r in REASONS.values())


def test_takes_milliseconds_and_rfc_3339() -> None:
    (first,) = read(b'{"t":1777636800000,"tilt":1}')
    texts = [b"2026-05-01T20:00:00+08:00", b"2026-05-01T12:00:00Z", b"2026-05-01t12:00:00.000z"]
    others = [read(b'{"ts":"%b","tilt":1}' % text)[0] for text in texts]
    assert {first.stamp.ts, *(other.stamp.ts for other in others)} == {NOON_MICROS}


def test_cuts_nanoseconds_to_microseconds() -> None:
    (record,) = read(b'{"ts":"2026-05-01T12:00:00.123456789Z","tilt":1}')
    assert record.stamp.ts == NOON_MICROS + 123_456


def test_null_is_not_measured_and_a_missing_key_is_not_there() -> None:
    (record,) = read(b'{"tilt":null,"batt":3}')
    assert record.values == {"tilt": None, "batt": 3.0}


def test_a_state_may_be_told_as_true_or_1() -> None:
    assert read(b'{"on":true}', "street_lamp")[0].values == {"on": 1.0}
    assert read(b'{"on":1}', "street_lamp")[0].values == {"on": 1.0}
    with pytest.raises(PayloadError, match="wrong_type"):
        read(b'{"tilt":true}')


def test_the_short_form_of_a_place_is_two_metrics() -> None:
    (record,) = read(b'{"g":[111.78,37.26]}', "sanitation_vehicle")
    assert record.values == {"lon": 111.78, "lat": 37.26}
    (lost,) = read(b'{"g":null,"speed":0}', "sanitation_vehicle")
    assert lost.values == {"lon": None, "lat": None, "speed": 0.0}
    for broken in (b'{"g":[1,2],"lon":1}', b'{"g":[1]}', b'{"g":["1","2"]}'):
        with pytest.raises(PayloadError, match=r"two_places|wrong_type"):
            read(broken, "sanitation_vehicle")


def test_a_place_of_a_thing_that_has_none_is_an_unknown_key() -> None:
    assert read(b'{"g":[1,2],"tilt":1}')[0].unknown == {"g": [1, 2]}


def test_a_message_may_be_an_array_or_columns() -> None:
    array = b'[{"h":true,"t":1,"seq":1,"tilt":2},{"h":true,"t":2,"seq":2,"tilt":3}]'
    columns = b'{"h":true,"c":["t","seq","tilt"],"r":[[1,1,2],[2,2,3]]}'
    assert read(array) == read(columns)
    assert [record.stamp for record in read(array)] == [
        native.Stamp(1000, 1, history=True),
        native.Stamp(2000, 2, history=True),
    ]


def test_one_row_that_does_not_fit_its_columns_is_refused_alone() -> None:
    body = native.parse(b'{"c":["t","tilt"],"r":[[1,2],[3],[4,5]]}')
    first, second, third = (fields for _, fields in native.records(body, 500))
    native.read_record(first, COVER)
    with pytest.raises(PayloadError, match="bad_columns"):
        native.read_record(second, COVER)
    native.read_record(third, COVER)


def test_too_many_records_are_refused_as_a_whole() -> None:
    with pytest.raises(PayloadError, match="too_many_records"):
        list(native.records(native.parse(b"[%b]" % b",".join([b"{}"] * 501)), 500))


def test_an_event_keeps_what_came_with_it() -> None:
    fields = native.parse(b'{"t":1,"seq":4,"e":"cover_open","on":true,"val":{"tilt":63.0},"x":1}')
    signal = native.read_event(fields)
    assert (signal.name, signal.on, signal.unknown) == ("cover_open", True, True)
    assert signal.values == {"tilt": 63.0, "x": 1}


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        ("no_event_name", b'{"on":true}'),
        ("no_event_name", b'{"e":5}'),
        ("no_event_name", b'{"e":""}'),
        ("wrong_type", b'{"e":"a","on":1}'),
        ("wrong_type", b'{"e":"a","val":[]}'),
    ],
)
def test_an_event_without_sense_has_its_reason(code: str, payload: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        native.read_event(native.parse(payload))
    assert caught.value.code == code


def test_a_state_tells_whether_the_device_is_there() -> None:
    assert native.read_state(native.parse(b'{"online":false}')) == (
        native.Stamp(None, None, history=False),
        False,
        {},
    )
    with pytest.raises(PayloadError, match="empty"):
        native.read_state({})


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise_anything_but_a_payload_error(payload: bytes) -> None:
    assert code_of(payload) in {None, *REASONS}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
record_keys = st.sampled_from(["t", "ts", "seq", "h", "d", "g", "q", "c", "r", "tilt", "on", "x"])


@given(st.dictionaries(record_keys, json_values))
def test_no_json_raises_anything_but_a_payload_error(fields: dict[str, object]) -> None:
    payload = json.dumps(fields).encode()
    for kind in KINDS:
        assert code_of(payload, kind) in {None, *REASONS}
