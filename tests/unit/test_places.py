import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import Text
from devices.components import parse_component_code
from devices.places import centre_of, doubt_position, parse_grid_code


@pytest.mark.parametrize(
    ("lon", "lat", "why"),
    [
        (37.26, 111.78, "swapped"),
        (37.26, 73.5, "swapped"),
        (0, 0, "no fix"),
        (4_123_456.7, 37_512_345.6, "metres"),
        (200, 37, "out of range"),
        (111, 200, "out of range"),
        (math.inf, 37, "metres"),
    ],
)
def test_a_place_that_cannot_be_says_why(lon: float, lat: float, why: str) -> None:
    doubt = doubt_position(lon, lat)
    assert isinstance(doubt, Text)
    assert why in doubt.en


@given(st.floats(73, 136), st.floats(3, 54))
def test_every_place_in_the_country_is_believed_and_found_out_when_swapped(
    lon: float, lat: float
) -> None:
    assert doubt_position(lon, lat) is None
    assert doubt_position(lat, lon) is not None


@given(st.floats(73, 136), st.floats(3, 54), st.floats(1e-4, 1), st.floats(1e-4, 1), st.booleans())
def test_the_centre_of_a_block_is_its_middle_whichever_way_round_it_is_drawn(
    lon: float, lat: float, width: float, height: float, clockwise: bool
) -> None:
    ring = [
        (lon, lat),
        (lon + width, lat),
        (lon + width, lat + height),
        (lon, lat + height),
        (lon, lat),
    ]
    found = centre_of(ring[::-1] if clockwise else ring)
    assert found == pytest.approx((lon + width / 2, lat + height / 2), abs=1e-6)


def test_a_ring_without_area_has_the_middle_of_its_corners_as_centre() -> None:
    assert centre_of([(0, 0), (2, 0), (1, 0), (0, 0)]) == (1, 0)


@pytest.mark.parametrize("code", ["32058211015210", "320582110152102"])
def test_grid_codes_of_both_lengths_are_read(code: str) -> None:
    grid = parse_grid_code(code)
    assert grid.district + grid.street + grid.community + grid.serial == code


@pytest.mark.parametrize(
    "code", ["", "1" * 13, "1" * 16, "３２０５８２１１０１５２１０２", "32058211015210 "]
)
def test_other_grid_codes_are_refused(code: str) -> None:
    with pytest.raises(ValueError, match="no grid code"):
        parse_grid_code(code)


@pytest.mark.parametrize("code", ["", "3205820102", "32058201020481881", "3.20582E+15"])
def test_other_component_codes_are_refused(code: str) -> None:
    with pytest.raises(ValueError, match="no component code"):
        parse_component_code(code)
