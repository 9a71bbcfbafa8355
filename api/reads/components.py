"""Every component of the map at once, as columns of numbers: 100,000 objects would be too many.

A component costs six bytes; a place is a share of the city's box, within about 11 cm over 6.6 km.
"""

import struct
from typing import Final

import numpy as np

from api.store import Look

_ALL: Final = """
SELECT lon, lat, class_code FROM hub.component
 WHERE lon IS NOT NULL AND lat IS NOT NULL ORDER BY class_code, component_code LIMIT 2000000
"""
MAGIC: Final = b"CHC1"
_FULL: Final = 65_535


async def pack_components(look: Look) -> bytes:
    """Return all placed components, in the form :mod:`api.routers.page` tells of."""
    rows = await look.rows(_ALL)
    lon = np.array([row["lon"] for row in rows])
    lat = np.array([row["lat"] for row in rows])
    codes = [row["class_code"] for row in rows]
    box = (lon.min(), lat.min(), lon.max(), lat.max()) if rows else (0.0, 0.0, 0.0, 0.0)
    west, south, east, north = map(float, box)
    return b"".join(
        [
            MAGIC + struct.pack("<I4d", len(rows), west, south, east, north),
            _share(lon, west, east).tobytes(),
            _share(lat, south, north).tobytes(),
            bytes(int(code[:2]) for code in codes),
            bytes(int(code[2:4]) for code in codes),
        ]
    )


def _share(
    values: "np.ndarray[tuple[int], np.dtype[np.float64]]", low: float, high: float
) -> "np.ndarray[tuple[int], np.dtype[np.uint16]]":
    return np.round((values - low) / ((high - low) or 1.0) * _FULL).astype("<u2")
