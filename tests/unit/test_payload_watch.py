"""Which share of bad payloads is a fault of the device."""

import numpy as np

from core.batch import Finding
from devices.manhole_cover import MANHOLE_COVER
from ingest.decode import Refusal, Work
from ingest.payload_watch import PayloadWatch
from ingest.rows import Rows
from tests.batches import HOUR, START, Row, make_batch
from tests.intake import raw_batch, telemetry

FIRST = START // HOUR * HOUR


def work(good: int, bad: int, at: int = FIRST, device_no: int = 3) -> Work:
    """So many records of one device, the bad ones at the end."""
    total = good + bad
    raw = raw_batch([telemetry("MH-1", b"{}")] * total, received_at=at)
    done = Work(raw, at)
    batch = make_batch(MANHOLE_COVER, [Row(device_no, at)] * good)
    index = np.arange(good)
    done.rows = [Rows(MANHOLE_COVER, batch, batch.seq, {}, batch.ts, index)] if good else []
    done.refused = [Refusal(good + i, "not_json", "", device_no) for i in range(bad)]
    return done


def test_one_bad_record_in_twenty_is_noise() -> None:
    watch = PayloadWatch()
    assert watch.look(work(19, 1)) == []
    assert watch.look(work(0, 0, FIRST + HOUR)) == []
    assert watch.look(work(1, 0, FIRST + HOUR)) == []


def test_two_in_twenty_are_told_at_once_and_once_an_hour() -> None:
    watch = PayloadWatch()
    assert watch.look(work(10, 2)) == []
    (finding,) = watch.look(work(8, 0)) or watch.look(work(0, 1))
    assert (finding.rule_id, finding.device_no, finding.ts) == ("payload_invalid", 3, FIRST)
    assert finding.detail == {
        "feature": "payload",
        "code": "not_json",
        "bad": 3,
        "records": 21,
    }
    assert watch.look(work(0, 9)) == []
    (again,) = watch.look(work(0, 20, FIRST + HOUR))
    assert again.value == 100.0


def test_a_device_that_speaks_seldom_is_told_of_when_the_hour_is_over() -> None:
    watch = PayloadWatch()
    assert watch.look(work(2, 1)) == []
    (finding,) = watch.look(work(1, 0, FIRST + HOUR + 1, device_no=9))
    assert (finding.device_no, finding.ts, finding.first_ts) == (3, FIRST + HOUR, FIRST)
    assert watch.look(work(1, 0, FIRST + 2 * HOUR)) == []


def test_each_device_answers_for_itself_and_strangers_for_nobody() -> None:
    watch = PayloadWatch()
    found: list[Finding] = []
    found += watch.look(work(5_000, 0, device_no=4_000))
    found += watch.look(work(0, 20, device_no=7))
    strangers = work(0, 30)
    strangers.refused = [Refusal(i, "unknown_device") for i in range(30)]
    found += watch.look(strangers)
    assert [finding.device_no for finding in found] == [7]
