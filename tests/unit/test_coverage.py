"""Which streets are swept: from the tracks of simulated vehicles, holes and canyons included."""

from collections.abc import Callable

import numpy as np
import pytest

from analytics.coverage import cover, cut, presence
from analytics.track import Plane, Track, believable, holes
from devices import KINDS
from simulators.city import build_city
from simulators.city_work import build_segments, segments_of
from simulators.physics.movers import Vehicle, beat_of
from simulators.rest import RestingDevice
from tests.batches import HOUR, SECOND

CITY = build_city(7, components=0, scale=0.02)
SWEEPER = next(device for device in CITY.devices if device.kind == "sanitation_vehicle")
BEAT = beat_of(SWEEPER.kind, SWEEPER.device_id, seed=7, lon=SWEEPER.lon, lat=SWEEPER.lat)
PATHS = {each.segment_code: each.path for each in build_segments()}
PLANNED = {code: [list(point) for point in PATHS[code]] for code in segments_of(BEAT.loop)}
PLANE = Plane(SWEEPER.lon, SWEEPER.lat)
PLACES = cut(PLANNED, PLANE)
BEGIN = 1_782_000_000_000_000 // (24 * HOUR) * 24 * HOUR + round(BEAT.begins + 1800) * SECOND
END = BEGIN + 4 * HOUR
Values = dict[str, float]


def drive(change: Callable[[int, Values], bool] = lambda ts, values: True) -> Track:
    """The track of one shift; ``change`` returns False where there is no position."""
    kind = KINDS[SWEEPER.kind]
    where = {"seed": 7, "lon": SWEEPER.lon, "lat": SWEEPER.lat}
    rest = RestingDevice(kind, SWEEPER.device_id, **where)  # type: ignore[arg-type]  # ints and floats
    physics = Vehicle(kind, SWEEPER.device_id, limits={}, **where)  # type: ignore[arg-type]  # likewise
    rows = []
    for ts in range(BEGIN, END, 10 * SECOND):
        values = rest.values(ts)
        physics.apply(ts, values)
        if change(ts, values):
            working = values["brush"] >= 0.5 or values["spray"] >= 0.5
            rows.append((ts, values["lon"], values["lat"], working, values["acc"] >= 0.5))
    ts_, lon, lat, working_, awake = map(np.array, zip(*rows, strict=True))
    x, y = PLANE.metres(lon, lat)
    return believable(Track(ts_, x, y, working_, awake))


def near(values: Values, codes: tuple[str, ...]) -> bool:
    """Whether a vehicle is on one of some segments."""
    x, y = PLANE.metres(np.array([values["lon"]]), np.array([values["lat"]]))
    on = np.isin(PLACES.of, [PLACES.codes.index(code) for code in codes])
    return bool((np.hypot(PLACES.x[on] - x, PLACES.y[on] - y) < 25).any())


def verdicts(tracks: dict[str, Track]) -> dict[str, str]:
    return {c: s.verdict for c, s in cover(PLACES, tracks, "me", BEGIN, END).items()}


def test_a_shift_done_covers_every_segment() -> None:
    assert set(verdicts({"me": drive()}).values()) == {"done"}


SKIPPED = PLACES.codes[2:4]
DRY = PLACES.codes[6:7]


def skip(ts: int, values: Values) -> bool:
    """Drive round two streets and through a third with brush and spray off."""
    if near(values, SKIPPED):
        values["lat"] += 0.004  # another street, two blocks away
        values["brush"] = values["spray"] = 0.0
    if near(values, DRY):
        values["brush"] = values["spray"] = 0.0
    return True


def test_skipped_streets_and_a_dry_one_are_missed_by_name() -> None:
    found = cover(PLACES, {"me": drive(skip)}, "me", BEGIN, END)
    missed = {code for code, segment in found.items() if segment.verdict == "missed"}
    assert missed == {*SKIPPED, *DRY}
    assert found[DRY[0]].dry > 0.7
    assert max(found[code].dry for code in SKIPPED) < 0.3


def test_a_street_done_by_another_vehicle_is_done() -> None:
    found = cover(PLACES, {"me": drive(skip), "other": drive()}, "me", BEGIN, END)
    assert {segment.verdict for segment in found.values()} == {"done"}
    assert {found[code].by for code in (*SKIPPED, *DRY)} == {"other"}


def test_a_tunnel_hides_streets_and_none_is_called_missed() -> None:
    lost = PLACES.codes[2:5]
    found = verdicts({"me": drive(lambda ts, values: not near(values, lost))})
    assert {found[code] for code in lost} == {"unknown"}
    assert "missed" not in found.values()


def test_a_canyon_that_makes_positions_jump_is_no_missed_street() -> None:
    chance = np.random.default_rng(3)
    lost = PLACES.codes[1:4]

    def canyon(ts: int, values: Values) -> bool:
        if near(values, lost):
            if chance.random() < 0.6:
                return False  # too few satellites
            values["lon"] += chance.normal() * 0.004
        return True

    assert "missed" not in verdicts({"me": drive(canyon)}).values()


def test_a_vehicle_that_never_spoke_is_unknown() -> None:
    assert set(verdicts({}).values()) == {"unknown"}


def test_a_parked_night_hides_nothing() -> None:
    ts = np.arange(BEGIN, END, 300 * SECOND)
    zeros, no = np.zeros(len(ts)), np.zeros(len(ts), np.bool_)
    parked = Track(ts, zeros, zeros, no, no)
    gaps = holes(parked, BEGIN, int(ts[-1]))
    assert len(gaps.begin) == 0


@pytest.mark.parametrize(("there", "gone"), [(1.0, 0.0), (0.5, 0.0), (0.5, 0.4)])
def test_presence_is_a_share_of_known_time(there: float, gone: float) -> None:
    ts = np.arange(BEGIN, END, 60 * SECOND)
    share = np.arange(len(ts)) / len(ts)
    x = np.where(share < there, PLACES.x[0], PLACES.x[0] + 2000.0)
    keep = (np.arange(len(ts)) % 10) >= 10 * gone  # holes all over the shift
    no = np.zeros(len(ts), np.bool_)
    track = Track(ts[keep], x[keep], np.full(keep.sum(), PLACES.y[0]), no[keep], no[keep])
    present, unknown = presence(PLACES, track, BEGIN, END)
    assert present == pytest.approx(there, abs=0.02)
    assert unknown == pytest.approx(gone, abs=0.02)


def test_of_a_badge_never_heard_nothing_is_known() -> None:
    assert presence(PLACES, None, BEGIN, END) == (0.0, 1.0)
