import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.topics import DEVICE_ID, Channel, Topic, format_topic, parse_topic, subject_of

ids = st.from_regex(DEVICE_ID, fullmatch=True)


@given(ids, st.sampled_from(Channel))
def test_what_is_formatted_is_parsed(device_id: str, channel: Channel) -> None:
    topic = format_topic(device_id, channel)
    assert parse_topic(topic) == Topic(device_id, channel)
    assert "/" not in subject_of(Topic(device_id, channel))


@pytest.mark.parametrize(
    "device_id", ["", "a.b", "a/b", "a b", "a+", "#", "$SYS", "*", ">", "a" * 65, "井盖", "a\n"]
)
def test_an_id_with_syntax_of_a_broker_in_it_is_refused(device_id: str) -> None:
    with pytest.raises(ValueError, match="no device id"):
        format_topic(device_id, Channel.EVENT)
    assert parse_topic(f"hub/{device_id}/event") is None


@given(st.text())
def test_any_text_can_be_parsed(text: str) -> None:
    topic = parse_topic(text)
    assert topic is None or str(topic) == text


@pytest.mark.parametrize(
    "topic", ["hub/MH-1", "hub/MH-1/", "HUB/MH-1/event", "hub/MH-1/event/", "/hub/MH-1/event"]
)
def test_a_topic_of_another_depth_is_not_ours(topic: str) -> None:
    assert parse_topic(topic) is None
