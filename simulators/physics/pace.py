"""How busy a device is, which decides how often it reports."""

from enum import Enum, auto


class Pace(Enum):
    """Of a device, at one time."""

    BUSY = auto()
    """It reports at its interval."""
    IDLE = auto()
    """It reports at the idle interval of its kind: a lamp by day, a parked vehicle."""
    ASLEEP = auto()
    """It reports nothing: a badge off shift."""
