"""Words for findings: one sentence that an operator understands, in Chinese and in English."""

from typing import Final

from devices.kind import Metric

_SIGNS: Final = {
    "1": "",
    "{count}": "",
    "deg": "°",
    "Cel": "℃",
    "m[g]": "mg",
    "dB{mW}": "dBm",
    "kW.h": "kWh",
    "m3/s": "m³/s",
    "m3": "m³",
    "ug/m3": "µg/m³",
    "Ohm": "Ω",
    "kBy": "kB",
    "%{LEL}": "%LEL",
    "/min": "/min",
    "{px}": "px",
}
_SIGNS_ZH: Final = {"/min": "次/分钟", "min": "分钟", "h": "小时", "s": "秒", "d": "天"}
_SIGNS_EN: Final = {"Cel": "°C", "/min": "a minute"}
_TIGHT: Final = ("°", "%", "%LEL")
_LESSER: Final = {"s": 60.0, "min": 60.0, "h": 24.0}
_UNITS_ZH: Final = {"s": "秒", "min": "分钟", "h": "小时", "d": "天"}


def quantity(value: float, metric: Metric) -> str:
    """Return a value with its unit's sign, as a screen shows it.

    >>> from core.model import Text
    >>> quantity(95, Metric("tilt", "deg", Text("倾角", "Tilt"), low=0, high=180, rest=0))
    '95°'
    """
    sign = _SIGNS_ZH.get(metric.unit) or sign_of(metric.unit)
    gap = "" if not sign or sign in _TIGHT or sign == "℃" else " "
    return f"{number(value, metric)}{gap}{sign}"


def quantity_en(value: float, metric: Metric) -> str:
    """Return a value with its unit's sign as an English reader expects it, such as ``21 °C``."""
    sign = _SIGNS_EN.get(metric.unit) or sign_of(metric.unit)
    gap = "" if not sign or sign in _TIGHT else " "
    return f"{number(value, metric)}{gap}{sign}"


def sign_of(unit: str) -> str:
    """Return how people write a unit; a UCUM code is for machines.

    >>> sign_of("m3/s"), sign_of("{count}"), sign_of("mm/h")
    ('m³/s', '', 'mm/h')
    """
    return _SIGNS.get(unit, unit)


def number(value: float, metric: Metric) -> str:
    """Return a value with the metric's digits, without zeros that say nothing."""
    text = f"{value:.{metric.decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> tuple[str, str]:
    """Return how long, in Chinese and English, in the one unit that fits.

    >>> duration(200), duration(7200)
    (('3 分钟', '3 min'), ('2 小时', '2 h'))
    """
    unit, count = "s", seconds
    for larger in ("min", "h", "d"):
        if count < 2 * _LESSER[unit]:
            break
        count /= _LESSER[unit]
        unit = larger
    return f"{count:.0f} {_UNITS_ZH[unit]}", f"{count:.0f} {unit}"
