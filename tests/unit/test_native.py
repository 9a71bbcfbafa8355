import math

import msgspec
import pytest

from devices.manhole_cover import MANHOLE_COVER
from devices.native import encode_event, encode_record, encode_records, encode_state, record


def test_a_time_between_milliseconds_is_sent_as_text_and_loses_nothing() -> None:
    body = encode_record(MANHOLE_COVER, {}, ts_micros=1_760_000_000_123_456, seq=None)
    assert body == b'{"ts":"2025-10-09T08:53:20.123456Z"}'


def test_a_device_without_a_clock_sends_no_time() -> None:
    assert encode_record(MANHOLE_COVER, {"tilt": 1}, ts_micros=None, seq=None) == b'{"tilt":1}'


def test_a_backlog_is_marked_and_keeps_its_order() -> None:
    records = [
        record(MANHOLE_COVER, {"shock": seq}, ts_micros=seq * 1000, seq=seq, history=True)
        for seq in (1, 2)
    ]
    assert msgspec.json.decode(encode_records(records)) == [
        {"t": 1, "seq": 1, "h": True, "shock": 1},
        {"t": 2, "seq": 2, "h": True, "shock": 2},
    ]


def test_a_gateway_names_the_child_inside_the_payload() -> None:
    body = encode_event("tamper", ts_micros=1000, seq=1, device_id="MH-1")
    assert body == b'{"t":1,"seq":1,"d":"MH-1","e":"tamper"}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON cannot say"):
        encode_record(MANHOLE_COVER, {"tilt": value}, ts_micros=0, seq=0)


def test_a_metric_that_the_kind_lacks_is_refused() -> None:
    with pytest.raises(KeyError):
        encode_record(MANHOLE_COVER, {"speed": 1}, ts_micros=0, seq=0)


def test_a_state_carries_what_the_device_says_of_itself() -> None:
    body = msgspec.json.decode(encode_state(online=True, ts_micros=5000, fw="1.4.2"))
    assert body == {"t": 5, "online": True, "fw": "1.4.2"}
