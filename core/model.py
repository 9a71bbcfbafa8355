"""The words every folder shares.

Times are aware and UTC; inside columns they are int64 microseconds since 1970. Values are in the
unit that their metric declares and are never converted between the decoder and the screen.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, IntFlag, StrEnum
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def to_micros(at: datetime) -> int:
    """Return an aware time as microseconds since 1970 UTC.

    >>> from datetime import timezone
    >>> to_micros(datetime(1970, 1, 1, 8, 0, 1, tzinfo=timezone(timedelta(hours=8))))
    1000000
    """
    return (at - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return microseconds since 1970 UTC as an aware UTC time; the inverse of :func:`to_micros`."""
    return EPOCH + timedelta(microseconds=micros)


@dataclass(frozen=True, slots=True)
class Text:
    """A label or a sentence in both languages of the command centre.

    Attributes:
        zh: Chinese, what the operators read.
        en: English, what the makers read.
    """

    zh: str
    en: str


class Severity(IntEnum):
    """The rank of an alarm (告警等级), the graver the greater."""

    BLUE = 1
    YELLOW = 2
    ORANGE = 3
    RED = 4

    @property
    def text(self) -> Text:
        """Its name on the screen."""
        return _SEVERITY_TEXT[self]


_SEVERITY_TEXT: Final = {
    Severity.BLUE: Text("蓝色", "blue"),
    Severity.YELLOW: Text("黄色", "yellow"),
    Severity.ORANGE: Text("橙色", "orange"),
    Severity.RED: Text("红色", "red"),
}


class Audience(StrEnum):
    """Whom an alarm concerns; a device fault is not a city event (设备故障 ≠ 城市事件)."""

    CITY = "city"
    MAINTENANCE = "maintenance"
    SYSTEM = "system"


class Edge(StrEnum):
    """What a finding says of its episode."""

    OPEN = "open"
    UPDATE = "update"
    CLEAR = "clear"
    ONCE = "once"


class Quality(IntFlag):
    """The bits of a row's ``quality`` column; 0 is good. Bits 12 to 14 hold a QARTOD verdict."""

    NO_DEVICE_TIME = 1 << 0
    CLOCK_SUSPECT = 1 << 1
    LATE = 1 << 2
    BACKLOG = 1 << 3
    OUT_OF_RANGE = 1 << 4
    UNKNOWN_KEY = 1 << 5
    CODEC_WARNING = 1 << 6
    SENSOR_FAULT = 1 << 7
    NO_FIX = 1 << 8
    CONVERTED_CRS = 1 << 9
    SENDER_INVALID = 1 << 10
    DUPLICATE_TIME = 1 << 11
    NOT_EVALUATED = 1 << 12
