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
from analytics.stages.guard import Guarded
from analytics.stages.limits import Limits
from analytics.stages.order import Order
from analytics.stages.state import StatefulStage
from core.batch import Stage
from devices.kind import DeviceKind
from devices.kind import Displacement as DisplacementWatch


def build_stages(kind: DeviceKind, limits: Mapping[int, Mapping[str, Any]]) -> list[Stage]:
    """Return the stages of a kind, in the order in which each batch goes through them.

    No two share a name, and none ever raises from ``apply`` or ``apply_events``: a defect costs
    one device's verdict and is told as ``stage_failed``.

    Args:
        kind: Whose watches to make stages of.
        limits: The devices' own limits by ``device_no``; changes in it are seen within a second of
            hub time.
    """
    watches = [watch for watch in kind.watches if isinstance(watch, DisplacementWatch)]
    stages: list[StatefulStage[Any]] = [
        Order(),
        Care(kind),
        Limits(kind, limits),
        *(Displacement(kind, watch) for watch in watches),
        Events(kind),
    ]
    return [Guarded(stage) for stage in stages]
