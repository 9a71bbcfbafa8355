"""Pure detectors over batches: no I/O, no clock, no chance.

Lives here: a module a stage, what a kind's watches are turned into. ``order`` comes first: it marks
late and repeated rows by quality bits, and the others leave those alone. May enter: whatever sees
columns and returns findings.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from analytics.stages.care import Care
from analytics.stages.displacement import Displacement
from analytics.stages.events import Events
from analytics.stages.gauge import Gauge
from analytics.stages.gnss import GnssStep
from analytics.stages.lamp import Lamp
from analytics.stages.limits import Limits
from analytics.stages.order import Order
from analytics.stages.rain import Rain
from analytics.stages.rarity import FULL, LITE, Pace, Rarity
from analytics.stages.rarity.form import MUTE_ROWS
from analytics.stages.slope import Slope
from analytics.stages.sun import Daylight
from analytics.stages.units import Units
from analytics.stages.whitening import Whitening
from core.batch import Stage
from devices.class_model import ClassModel
from devices.kind import DeviceKind
from devices.kind import Displacement as DisplacementWatch
from devices.lamp_circuit import LampCircuit
from devices.motion import GroundAcceleration, GroundStep
from devices.rainfall import Rainfall
from devices.unit_slip import UnitSlip
from devices.unusual import Unusual
from devices.water_level import WaterLevel

FENYANG: Final = Daylight(111.78, 37.26)
"""The sun over the city whose figures are the defaults of ``city`` in the settings."""


def build_stages(
    kind: DeviceKind,
    limits: Mapping[int, Mapping[str, Any]],
    *,
    daylight: Daylight = FENYANG,
    zone: str = "Asia/Shanghai",
) -> list[Stage]:
    """Return the stages of a kind, in the order in which each batch goes through them.

    No two share a name. One that raises has changed nothing, so that whoever calls it may halve
    the batch until the guilty device is alone.

    Args:
        kind: Whose watches to make stages of.
        limits: What differs of the watches by ``device_no``, live (:mod:`analytics.stages.own`).
        daylight: The sun over the city, for what burns by night.
        zone: The city's time zone, for what repeats daily.
    """
    return [
        Order(),
        *(Units(kind, watch) for watch in kind.watches if isinstance(watch, UnitSlip)),
        Care(kind),
        Limits(kind, limits),
        *_detectors(kind, limits, daylight),
        *_rarities(kind, zone),
        Events(kind),
    ]


def _detectors(
    kind: DeviceKind, limits: Mapping[int, Mapping[str, Any]], daylight: Daylight
) -> Iterator[Stage]:
    """Yield the detector of each watch but the limits, which one stage judges together."""
    for watch in kind.watches:
        match watch:
            case DisplacementWatch():
                yield Displacement(kind, watch, limits)
            case GroundStep():
                yield GnssStep(kind, watch, limits)
            case GroundAcceleration():
                yield Slope(kind, watch)
            case LampCircuit():
                yield Lamp(kind, watch, daylight)
            case ClassModel():
                yield Whitening(kind, watch)
            case WaterLevel():
                yield Gauge(kind, watch, limits)
            case Rainfall():
                yield Rain(kind, watch)
            case _:
                pass


def _rarities(kind: DeviceKind, zone: str) -> Iterator[Stage]:
    """Yield what watches for unusual behaviour; it heeds what all others found."""
    period_s = max(kind.interval_s, 1.0)
    for watch in kind.watches:
        if isinstance(watch, Unusual):
            pace = Pace(period_s=period_s, mute_s=watch.mute_s, mute_rows=MUTE_ROWS, zone=zone)
            for form, names in ((FULL, watch.full), (LITE, watch.lite)):
                if names:
                    yield Rarity(kind, names, form, pace)
