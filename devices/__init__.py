"""Device kinds as data, the registry, and the city they stand in.

Lives here: one module a kind, the registry, grid cells, components, departments and their import,
topics and the native wire format. May enter: what describes devices and places. Knows no detector,
alarm or page.
"""

from collections.abc import Mapping
from typing import Final

from devices.kind import DeviceKind
from devices.manhole_cover import MANHOLE_COVER

KINDS: Final[Mapping[str, DeviceKind]] = {
    kind.name: kind
    for kind in (
        MANHOLE_COVER,
        # a new kind is one line here, and its import above
    )
}
"""The kinds of device that the city has, by name."""

__all__ = ["KINDS", "DeviceKind"]
