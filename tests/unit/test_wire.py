from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest import wire
from ingest.wire import Arrivals, WireError, take_packets

Message = tuple[bytes, bytes, bytes, bytes]  # topic, payload, packet id (empty: QoS 0), properties

CONTENT_TYPE = b"\x03\x00\x0aimage/jpeg"
USER_PROPERTY = b"\x26\x00\x05trace\x00\x02x1"
SUBSCRIPTION = b"\x0b\x81\x01"
EXPIRY = b"\x02\x00\x00\x00\x3c"

messages = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=200),
        st.binary(max_size=400),
        st.sampled_from([b"", b"\x00\x01", b"\xff\xff", b"\x12\x34"]),
        st.sampled_from([b"", CONTENT_TYPE, USER_PROPERTY + CONTENT_TYPE, SUBSCRIPTION + EXPIRY]),
    ),
    max_size=20,
)


def variable(value: int) -> bytes:
    out = b""
    while True:
        value, low = divmod(value, 128)
        out += bytes([low | (128 if value else 0)])
        if not value:
            return out


def publish(message: Message, *, v5: bool) -> bytes:
    topic, payload, packet_id, properties = message
    body = len(topic).to_bytes(2, "big") + topic + packet_id
    if v5:
        body += variable(len(properties)) + properties
    body += payload
    return bytes([0x32 if packet_id else 0x30]) + variable(len(body)) + body


def feed(chunks: Sequence[bytes], *, v5: bool, limit: int = wire.MAX_PACKET) -> Arrivals:
    """Do what a connection does with what its socket gives."""
    arrivals, rest, skip = Arrivals(), b"", 0
    for chunk in chunks:
        skipped = min(skip, len(chunk))
        skip -= skipped
        data = rest + chunk[skipped:]
        if not skip:
            used, skip, _ = take_packets(data, arrivals, v5=v5, limit=limit)
            rest = data[used:]
    return arrivals


@given(messages, st.booleans(), st.lists(st.integers(1, 60), max_size=200))
def test_messages_survive_any_split_of_the_stream(
    sent: list[Message], v5: bool, sizes: list[int]
) -> None:
    stream = b"".join(publish(message, v5=v5) for message in sent)
    chunks, at = [], 0
    for size in sizes:
        chunks.append(stream[at : at + size])
        at += size
    arrivals = feed([*chunks, stream[at:]], v5=v5)
    assert arrivals.topics == [topic for topic, _, _, _ in sent]
    assert arrivals.payloads == [payload for _, payload, _, _ in sent]
    assert arrivals.packet_ids == [packet_id for _, _, packet_id, _ in sent]
    expected = {i: "image/jpeg" for i, m in enumerate(sent) if v5 and CONTENT_TYPE in m[3]}
    assert arrivals.content_types == expected


@given(st.binary(max_size=300), st.booleans())
@example(b"\x30\x00", True)
@example(b"\x32\x02\x00\x05", False)
@example(b"\x32\x03\x00\x01a", True)
@example(b"\x32\x07\x00\x01a\x00\x01\x7f\x03", True)
def test_random_bytes_raise_nothing_but_a_wire_error(data: bytes, v5: bool) -> None:
    arrivals = Arrivals()
    try:
        used, skip, _ = take_packets(data, arrivals, v5=v5)
    except WireError:
        return
    assert 0 <= used <= len(data)
    assert skip >= 0
    assert len(arrivals.topics) == len(arrivals.payloads) == len(arrivals.packet_ids)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x32\xff\xff\xff\xff\x01", "more than four bytes"),
        (b"\x90\xff\xff\xff\x7f", "claims 268435455 bytes"),
        (b"\x32\x04\xff\xffab", "beyond it|shorter than its topic"),
        (b"\x30\x01\x00", "without a topic"),
        (b"\x30\x04\x00\x09ab", "shorter than its topic"),
        (b"\x34\x05\x00\x01a\x00\x01", "QoS 2"),
        (b"\x32\x08\x00\x01a\x00\x01\x7f\x01\x01", "longer than their packet"),
        (b"\x32\x08\x00\x01a\x00\x01\x02\x7e\x01", "unknown property"),
        (b"\x32\x09\x00\x01a\x00\x01\x03\x03\x00\x09", "longer than its block"),
    ],
)
def test_a_length_that_lies_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(WireError, match=said):
        take_packets(data, Arrivals(), v5=True)


@pytest.mark.parametrize("end", range(1, 12))
def test_an_incomplete_packet_waits_for_its_rest(end: int) -> None:
    packet = publish((b"a/b", b"hello", b"\x00\x01", b""), v5=True)
    arrivals = Arrivals()
    assert take_packets(packet[:end], arrivals, v5=True) == (0, 0, [])
    assert len(arrivals) == 0


@pytest.mark.parametrize("packet_id", [b"", b"\x00\x07"])
@pytest.mark.parametrize("chunk", [1, 700, 1 << 20])
def test_a_message_beyond_the_limit_is_cut_and_its_neighbours_are_whole(
    packet_id: bytes, chunk: int
) -> None:
    big = (b"hub/big", b"x" * 5_000, packet_id, b"")
    small = (b"hub/small", b"y", b"\x00\x08", b"")
    stream = b"".join(publish(message, v5=True) for message in (small, big, small, small))
    arrivals = feed(
        [stream[at : at + chunk] for at in range(0, len(stream), chunk)], v5=True, limit=1_000
    )
    assert arrivals.topics == [b"hub/small", b"hub/big", b"hub/small", b"hub/small"]
    assert arrivals.packet_ids[1] == packet_id
    assert 900 < len(arrivals.payloads[1]) <= 5_000
    assert arrivals.payloads[2] == b"y"


def test_a_cut_leaves_the_rest_with_its_content_types() -> None:
    sent = [(b"t", bytes([i]), b"\x00\x01", CONTENT_TYPE if i in {1, 3} else b"") for i in range(5)]
    arrivals = feed([b"".join(publish(message, v5=True) for message in sent)], v5=True)
    first = arrivals.cut(2)
    assert (first.payloads, first.content_types) == ([b"\x00", b"\x01"], {1: "image/jpeg"})
    assert arrivals.content_types == {1: "image/jpeg"}
    assert arrivals.cut(9).payloads == [b"\x02", b"\x03", b"\x04"]
    assert len(arrivals) == 0


def test_acknowledgements_keep_their_order_and_skip_qos_0() -> None:
    assert wire.pubacks([b"\x00\x01", b"", b"\x00\x03"]).hex() == "400200014002" + "0003"
    assert wire.pubacks([b"", b""]) == b""


def test_connect_goes_on_with_the_session_and_names_the_window() -> None:
    packet = wire.connect(
        "hub",
        v5=True,
        keep_alive=30,
        username="u",
        password="p",
        receive_maximum=20_000,
        session_expiry=3_600,
    )
    assert packet.hex(" ") == (
        "10 1e 00 04 4d 51 54 54 05 c0 00 1e 08 11 00 00 0e 10 21 4e 20 "
        "00 03 68 75 62 00 01 75 00 01 70"
    )
    old = wire.connect("hub", v5=False, keep_alive=30)
    assert old.hex(" ") == "10 0f 00 04 4d 51 54 54 04 00 00 1e 00 03 68 75 62"


def test_the_subscription_asks_for_qos_1_and_no_second_helping_of_retained_messages() -> None:
    assert wire.subscribe(1, "a/#", v5=True).hex(" ") == "82 09 00 01 00 00 03 61 2f 23 11"
    assert wire.subscribe(1, "a/#", v5=False).hex(" ") == "82 08 00 01 00 03 61 2f 23 01"


def test_a_connack_tells_the_session_and_the_broker_s_own_interval() -> None:
    told = wire.read_connack(b"\x01\x00\x08\x13\x00\x0a\x1f\x00\x02ok", v5=True)
    assert told == wire.Connack(session_present=True, code=0, keep_alive=10, reason="ok")
    refused = wire.read_connack(b"\x00\x04", v5=False)
    assert refused.code == 0x86
    assert wire.is_permanent(refused.code)
    busy = wire.read_connack(b"\x00\x89\x00", v5=True)
    assert not wire.is_permanent(busy.code)


def test_an_old_broker_s_refusal_of_mqtt_5_is_understood() -> None:
    assert wire.read_connack(b"\x00\x01", v5=True).code == wire.WRONG_VERSION


@given(st.binary(max_size=40), st.booleans())
def test_answers_of_random_bytes_raise_nothing_but_a_wire_error(body: bytes, v5: bool) -> None:
    for read in (wire.read_connack, wire.read_suback):
        try:
            read(body, v5=v5)
        except WireError:
            continue


def test_every_reason_is_half_a_sentence() -> None:
    assert wire.explain(0x87, "no") == 'this login is not allowed to do that (code 0x87: "no")'
    assert wire.explain(0xFE) == "its reason is unknown (code 0xFE)"
