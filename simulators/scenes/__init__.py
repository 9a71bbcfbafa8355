"""Scenes (场景): causes that befall the city, one module each, to be started, mixed and stopped.

May enter: a cause, what it does to its devices, and what the hub must and must not make of it.
"""

from collections.abc import Mapping
from typing import Final

from simulators.scenes.battery_cliff import BATTERY_CLIFF
from simulators.scenes.cover_rocking import COVER_ROCKING
from simulators.scenes.cover_settling import COVER_SETTLING
from simulators.scenes.cover_stolen import COVER_STOLEN
from simulators.scenes.feeder_leftovers import FEEDER_LEFTOVERS
from simulators.scenes.feeder_outage import FEEDER_OUTAGE
from simulators.scenes.gateway_silent import GATEWAY_SILENT
from simulators.scenes.gauge_faults import (
    GAUGE_DRIFT,
    GAUGE_FROZEN,
    GAUGE_SPIKES,
    GAUGE_UNIT_SLIP,
)
from simulators.scenes.lamp_faults import LAMP_FAULTS, LAMP_FLICKER
from simulators.scenes.lorries import LORRIES
from simulators.scenes.river_rising import RIVER_RISING
from simulators.scenes.scene import Act, Cast, Cue, Scene
from simulators.scenes.slope_failing import SLOPE_FAILING
from simulators.scenes.slope_rain import SLOPE_RAIN
from simulators.scenes.storm_cascade import STORM_CASCADE
from simulators.scenes.streets import GPS_TUNNEL, STREETS_MISSED, WORKER_SOS

SCENES: Final[Mapping[str, Scene]] = {
    scene.name: scene
    for scene in (
        COVER_STOLEN,
        LORRIES,
        FEEDER_OUTAGE,
        RIVER_RISING,
        GATEWAY_SILENT,
        COVER_SETTLING,
        COVER_ROCKING,
        SLOPE_FAILING,
        SLOPE_RAIN,
        STORM_CASCADE,
        GAUGE_FROZEN,
        GAUGE_UNIT_SLIP,
        GAUGE_SPIKES,
        GAUGE_DRIFT,
        *LAMP_FAULTS,
        LAMP_FLICKER,
        FEEDER_LEFTOVERS,
        STREETS_MISSED,
        GPS_TUNNEL,
        WORKER_SOS,
        BATTERY_CLIFF,
    )
}
"""All scenes by name."""

__all__ = ["SCENES", "Act", "Cast", "Cue", "Scene"]
