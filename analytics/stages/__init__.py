"""Pure detectors over batches: no I/O, no clock, no chance.

Lives here: a module a stage, what a kind's watches are turned into. ``order`` comes first: it marks
late and repeated rows by quality bits, and the others leave those alone. May enter: whatever sees
columns and returns findings.
"""

from collections.abc import Mapping
from typing import Any

from analytics.stages.care import Care
from analytics.stages.displacement import Displacement
from analytics.stages.events import Events
from analytics.stages.gnss import GnssStep
from analytics.stages.limits import Limits
from analytics.stages.order import Order
from analytics.stages.slope import Slope
from core.batch import Stage
from devices.kind import DeviceKind
from devices.kind import Displacement as DisplacementWatch
from devices.motion import GroundAcceleration, GroundStep


def build_stages(kind: DeviceKind, limits: Mapping[int, Mapping[str, Any]]) -> list[Stage]:
    """Return the stages of a kind, in the order in which each batch goes through them.

    No two share a name. One that raises has changed nothing, so that whoever calls it may halve
    the batch until the guilty device is alone.

    Args:
        kind: Whose watches to make stages of.
        limits: The devices' own limits by ``device_no``; changes in it are seen within a second of
            hub time.
    """
    watches = [watch for watch in kind.watches if isinstance(watch, DisplacementWatch)]
    return [
        Order(),
        Care(kind),
        Limits(kind, limits),
        *(Displacement(kind, watch) for watch in watches),
        *(GnssStep(kind, w, limits) for w in kind.watches if isinstance(w, GroundStep)),
        *(Slope(kind, w) for w in kind.watches if isinstance(w, GroundAcceleration)),
        Events(kind),
    ]
