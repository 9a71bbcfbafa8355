"""What was recorded is read again, byte for byte, whatever befell the end of the file."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from core.recording import Recorded, Recording, RecordingWriter

MESSAGES = st.lists(
    st.builds(
        Recorded,
        at=st.integers(-(2**62), 2**62),
        topic=st.binary(max_size=40),
        payload=st.binary(max_size=200),
        qos=st.integers(0, 2),
        retain=st.booleans(),
        content_type=st.sampled_from(["", "application/json", "文本"]),
    ),
    max_size=40,
)


def message(number: int, payload: bytes = b"") -> Recorded:
    return Recorded(1_000 * number, b"hub/D-1/telemetry", payload or b'{"seq":%d}' % number)


def write(path: Path, *several: Recorded) -> None:
    with RecordingWriter(path) as recording:
        for one in several:
            recording.append(one)


@settings(max_examples=50, deadline=None)
@given(MESSAGES, st.sets(st.integers(0, 39)), st.integers(0, 45))
def test_what_was_recorded_is_read_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, several: list[Recorded], cuts: set[int], after: int
) -> None:
    path = tmp_path_factory.mktemp("recording") / "x.rec"
    with RecordingWriter(path) as recording:
        for number, one in enumerate(several):
            recording.append(one)
            if number in cuts:
                recording.flush()
    read = Recording(path)
    assert list(read.read()) == several
    assert list(read.read(after)) == several[after:]
    assert len(read) == len(several)
    assert read.first == min((one.at for one in several), default=None)
    assert read.last == max((one.at for one in several), default=None)


def test_a_long_recording_is_small_and_has_an_index_by_time(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    several = [message(i) for i in range(20_000)]
    write(path, *several)
    read = Recording(path)
    assert len(read.blocks) > 3
    assert path.stat().st_size < sum(len(one.payload) + len(one.topic) for one in several) / 3
    assert list(read.read(since=19_990_000)) == several[19_990:]
    assert read.some(19_999) == several[19_999:]
    assert read.some(20_000) == []


def test_every_torn_end_is_left_out_and_cut_off_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    write(path, message(1), message(2))
    whole = path.stat().st_size
    write(path, message(3), message(4))
    body = path.read_bytes()
    for end in range(whole, len(body)):
        path.write_bytes(body[:end])
        assert list(Recording(path).read()) == [message(1), message(2)]
    for tail in (body[:-1] + b"\0", body[:whole] + b"\0" * 100):
        path.write_bytes(tail)
        assert list(Recording(path).read()) == [message(1), message(2)]
        write(path, message(5))
        assert list(Recording(path).read()) == [message(1), message(2), message(5)]


def test_damage_in_the_midst_is_said_not_skipped(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    write(path, message(1))
    middle = path.stat().st_size - 3
    write(path, message(2))
    body = bytearray(path.read_bytes())
    body[middle] ^= 0xFF
    path.write_bytes(body)
    with pytest.raises(ConfigError, match="damaged at byte 20"):
        list(Recording(path).read())


def test_a_recording_that_grows_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    write(path)
    read = Recording(path)
    assert len(read) == 0
    write(path, message(1))
    write(path, message(2))
    assert read.refresh() == 2
    assert list(read.read(1)) == [message(2)]


def test_a_file_of_another_kind_is_neither_read_nor_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    path.write_bytes(b"precious")
    for opened in (Recording, RecordingWriter):
        with pytest.raises(ConfigError, match="is no recording"):
            opened(path)
    assert path.read_bytes() == b"precious"
    with pytest.raises(ConfigError, match="No such file"):
        Recording(tmp_path / "none.rec")


def test_a_writer_that_died_in_the_first_line_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    path.write_bytes(b"cityhub rec")
    assert list(Recording(path).read()) == []
    write(path, message(1))
    assert list(Recording(path).read()) == [message(1)]
