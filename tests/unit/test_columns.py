"""The fast path says what the exact path says."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PayloadError
from core.model import Quality
from devices import KINDS, DeviceKind
from devices.registry import Device, Registry
from devices.topics import Channel
from ingest.columns import Columns
from ingest.decode import Decoder, Work
from ingest.envelopes import native
from ingest.routes import Route
from ingest.rows import Rows
from ingest.times import TimeRules
from tests.intake import NOON_MICROS, SECOND, raw_batch, telemetry
from tests.malformed import BROKEN_RECORDS

RULES = TimeRules.of(max_future_s=300, max_age_days=400)
COLUMNS = {name: Columns(kind, RULES) for name, kind in KINDS.items()}
NOON_MS = NOON_MICROS // 1000


def decode(*payloads: bytes, kind: str = "manhole_cover", fast: bool = True) -> Work:
    """Decode telemetry of one device, received at noon."""
    device = Device(1, "X-1", kind)
    place = list(COLUMNS).index(kind) if fast else -1
    route = Route(Channel.TELEMETRY, device, 1, kind, place)
    decoder = Decoder(Registry([device]), COLUMNS, rules=RULES, max_payload=65_536, max_records=500)
    batch = raw_batch([telemetry("X-1", payload) for payload in payloads])
    return decoder.decode(batch, {batch.topics[0]: route}, NOON_MICROS)


def rows_of(work: Work) -> Rows:
    (rows,) = work.rows
    return rows


def value(work: Work, metric: str, kind: str = "manhole_cover") -> list[float | None]:
    names = [m.name for m in KINDS[kind].reals]
    return [
        None if np.isnan(v) else float(v) for v in rows_of(work).batch.values[names.index(metric)]
    ]


def shown(work: Work) -> Any:
    """Return all there is to compare of a decoded batch."""
    rows = [
        (
            r.batch.ts.tolist(),
            r.seq.tolist(),
            r.batch.seq.tolist(),
            np.nan_to_num(r.batch.values, nan=-1e9).tolist(),
            np.nan_to_num(r.batch.exact, nan=-1e9).tolist(),
            r.batch.quality.tolist(),
            r.extra,
        )
        for r in work.rows
    ]
    return rows, [(r.code, r.message) for r in work.refused]


def records_of(kind: DeviceKind) -> st.SearchStrategy[dict[str, Any]]:
    number = st.integers(-(10**6), 10**6) | st.floats(width=32) | st.none()
    metrics = {m.name: number for m in kind.metrics}
    head = {
        "t": st.integers(-(10**13), 10**16),
        "seq": st.integers(-1, 2**63),
        "h": st.booleans(),
        "q": st.integers(0, 3),
    }
    return st.fixed_dictionaries({}, optional={**head, **metrics})


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_both_paths_read_the_same(kind: str, data: st.DataObject) -> None:
    payload = json.dumps(data.draw(records_of(KINDS[kind]))).encode()
    assert shown(decode(payload, kind=kind)) == shown(decode(payload, kind=kind, fast=False))


def test_plain_records_take_the_fast_path() -> None:
    payload = b'{"t":%d,"seq":1,"tilt":0.5,"batt":null,"h":true,"q":0}' % NOON_MS
    COLUMNS["manhole_cover"].decode(payload)
    with pytest.raises(msgspec.MsgspecError):
        COLUMNS["manhole_cover"].decode(b'{"tilt":1,"strange":2}')


@pytest.mark.parametrize(
    ("code", "payload"), [(code, p) for code, several in BROKEN_RECORDS.items() for p in several]
)
def test_the_fast_path_lets_no_fault_through(code: str, payload: bytes) -> None:
    good = b'{"t":%d,"seq":1,"tilt":0.5}' % NOON_MS
    work = decode(good, payload, good)
    assert [refusal.code for refusal in work.refused] == [code]
    assert rows_of(work).message.tolist() == [0, 2]


def test_a_key_that_stands_twice_is_seen() -> None:
    work = decode(b'{"tilt":1,"tilt":1}', b'{"tilt":2}')
    assert [refusal.code for refusal in work.refused] == ["duplicate_key"]
    assert value(work, "tilt") == [2.0]


def test_a_value_beyond_its_sensor_is_kept_and_flagged() -> None:
    work = decode(b'{"tilt":900,"batt":3.5}', b'{"tilt":180,"batt":3.5}')
    assert value(work, "tilt") == [900.0, 180.0]
    assert [bool(q & Quality.OUT_OF_RANGE) for q in rows_of(work).batch.quality] == [True, False]


def test_a_number_that_no_column_holds_is_refused() -> None:
    assert [r.code for r in decode(b'{"tilt":3.5e38}').refused] == ["number_too_big"]
    assert value(decode(b'{"tilt":3.4e38}'), "tilt") == [pytest.approx(3.4e38)]


def test_unknown_keys_are_kept_and_flagged() -> None:
    rows = rows_of(decode(b'{"tilt":1,"fog":{"a":[1]}}'))
    assert json.loads(rows.extra[0]) == {"fog": {"a": [1]}}
    assert rows.batch.quality[0] & Quality.UNKNOWN_KEY


def test_a_device_that_sends_a_key_of_ours_does_not_lose_it() -> None:
    rows = rows_of(decode(b'{"t":%d,"tilt":1,"rx":"x"}' % (NOON_MS - 100_000)))
    assert json.loads(rows.extra[0]) == {"rx": NOON_MS, "rx_": "x"}


def test_a_fault_that_the_device_reports_is_flagged() -> None:
    rows = rows_of(decode(b'{"tilt":1,"q":5}', b'{"tilt":1,"q":0}'))
    assert [bool(q & Quality.SENSOR_FAULT) for q in rows.batch.quality] == [True, False]
    assert json.loads(rows.extra[0]) == {"q": 5}
    assert 1 not in rows.extra


def test_a_record_without_time_stands_under_its_receipt() -> None:
    rows = rows_of(decode(b'{"seq":1,"tilt":1}'))
    assert rows.batch.ts.tolist() == [NOON_MICROS]
    assert rows.batch.quality[0] & Quality.NO_DEVICE_TIME


@pytest.mark.parametrize(
    "t",
    [
        1000,  # just after 1970
        -1000,
        NOON_MS + 8 * 3_600_000,
        NOON_MS + 301_000,
        NOON_MS - 401 * 86_400_000,
        NOON_MS // 1000,  # seconds for milliseconds
        10**15,
        10**30,
    ],
)
def test_a_time_that_cannot_be_is_kept_beside_the_time_of_receipt(t: int) -> None:
    work = decode(b'{"t":%d,"seq":1,"tilt":1}' % t)
    rows = rows_of(work)
    assert rows.batch.ts.tolist() == [NOON_MICROS]
    assert rows.batch.quality.tolist() == [Quality.CLOCK_SUSPECT]
    assert json.loads(rows.extra[0])["t"] == min(t, 10**15)


@pytest.mark.parametrize(
    ("behind_s", "bits"),
    [
        (0, Quality(0)),
        (-299, Quality(0)),
        (899, Quality(0)),
        (901, Quality.LATE),
        (8 * 3600, Quality.LATE),
        (399 * 86_400, Quality.LATE),
    ],
)
def test_an_old_reading_is_history(behind_s: int, bits: Quality) -> None:
    rows = rows_of(decode(b'{"t":%d,"tilt":1}' % (NOON_MS - behind_s * 1000)))
    assert rows.batch.ts.tolist() == [NOON_MICROS - behind_s * SECOND]
    assert rows.batch.quality.tolist() == [bits]
    far = abs(behind_s) > 60
    assert (json.loads(rows.extra[0]) if far else rows.extra) == ({"rx": NOON_MS} if far else {})


def test_records_without_counter_get_a_key_of_their_content() -> None:
    rows = rows_of(decode(b'{"t":1,"tilt":1}', b'{"t":1,"tilt":2}', b'{"t":1,"tilt":1}'))
    assert rows.seq[0] == rows.seq[2] != rows.seq[1]
    assert (rows.seq >= 0).all()
    assert rows.batch.seq.tolist() == [-1, -1, -1]


def test_large_counters_and_microseconds_keep_every_digit() -> None:
    rows = rows_of(
        decode(b'{"ts":"2026-05-01T12:00:00.000001Z","seq":9223372036854775807,"tilt":1}')
    )
    assert rows.batch.ts.tolist() == [NOON_MICROS + 1]
    assert rows.seq.tolist() == [2**63 - 1]


@pytest.mark.parametrize("written", [b"41", b"41.0", b"4.1e1", b"410e-1"])
@pytest.mark.parametrize("fast", [True, False])
def test_a_whole_number_may_be_written_with_a_point(written: bytes, fast: bool) -> None:
    work = decode(b'{"t":%d.0,"seq":%b,"q":2.0,"tilt":1}' % (NOON_MS, written), fast=fast)
    assert not work.refused
    (rows,) = work.rows
    assert (rows.batch.seq.tolist(), rows.batch.ts.tolist()) == ([41], [NOON_MICROS])
    assert rows.batch.quality.tolist() == [int(Quality.SENSOR_FAULT)]


def test_one_bad_record_leaves_its_message_alone() -> None:
    good = [b'{"t":%d,"seq":%d,"tilt":1}' % (NOON_MS, i) for i in range(4)]
    work = decode(b"[%b]" % b",".join([*good[:2], b'{"tilt":"x"}', *good[2:]]))
    assert len(rows_of(work)) == 4
    assert [(r.code, r.record) for r in work.refused] == [("wrong_type", 2)]


def test_a_payload_beyond_the_limit_is_not_even_read() -> None:
    work = decode(b'{"tilt":1,"x":"%b"}' % (b"a" * 10_000_000))
    assert [r.code for r in work.refused] == ["too_large"]


def test_the_exact_path_agrees_with_the_kind_on_switches() -> None:
    names = {m.name for m in KINDS["street_lamp"].metrics if native.is_switch(m)}
    assert "on" in names
    with pytest.raises(PayloadError):
        native.read_record({"volt": True}, KINDS["street_lamp"])
