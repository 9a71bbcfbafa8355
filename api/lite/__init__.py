"""``/lite``: the hub for a person with any browser at all; plain HTML, no script, no build.

Lives here: alarms, cases, devices and the quarantine bench as pages, with forms for what staff do.
May enter: what works without a script. All markup is made by :mod:`api.lite.markup`, which escapes.
"""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter

from api.lite.alarms import router as alarms
from api.lite.bulletin import router as bulletin
from api.lite.cases import router as cases
from api.lite.devices import router as devices
from api.lite.login import router as login
from api.lite.quarantine import router as quarantine

ROUTERS: Final[Sequence[APIRouter]] = (login, alarms, cases, devices, quarantine, bulletin)

__all__ = ["ROUTERS"]
