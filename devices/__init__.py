"""Device kinds as data, the registry, and the city they stand in.

Lives here: one module a kind, the registry, grid cells, components, departments and their import,
topics and the native wire format. May enter: what describes devices and places. Knows no detector,
alarm or page.
"""

from collections.abc import Mapping
from typing import Final

from devices.displacement_point import DISPLACEMENT_POINT
from devices.kind import DeviceKind
from devices.manhole_cover import MANHOLE_COVER
from devices.rain_gauge import RAIN_GAUGE
from devices.sanitation_vehicle import SANITATION_VEHICLE
from devices.sanitation_worker import SANITATION_WORKER
from devices.street_lamp import STREET_LAMP
from devices.video_endpoint import VIDEO_ENDPOINT
from devices.water_gauge import WATER_GAUGE

KINDS: Final[Mapping[str, DeviceKind]] = {
    kind.name: kind
    for kind in (
        MANHOLE_COVER,
        STREET_LAMP,
        SANITATION_VEHICLE,
        SANITATION_WORKER,
        RAIN_GAUGE,
        WATER_GAUGE,
        DISPLACEMENT_POINT,
        VIDEO_ENDPOINT,
        # a new kind is one line here, and its import above
    )
}
"""The kinds of device that the city has, by name."""

__all__ = ["KINDS", "DeviceKind"]
