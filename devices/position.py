"""Where a thing that moves is: two metrics that several kinds share."""

from core.model import Text
from devices.kind import Metric


def position(noise_deg: float) -> tuple[Metric, Metric]:
    """Return the metrics ``lon`` and ``lat``, WGS-84 degrees, at rest in the middle of the town.

    Args:
        noise_deg: Standard deviation of the receiver, in degrees; 1e-5° of latitude is 1.1 m.
    """
    return (
        Metric(
            "lon",
            "deg",
            Text("经度", "Longitude"),
            low=-180,
            high=180,
            rest=111.785,
            noise=noise_deg,
            f8=True,
            decimals=6,
        ),
        Metric(
            "lat",
            "deg",
            Text("纬度", "Latitude"),
            low=-90,
            high=90,
            rest=37.262,
            noise=noise_deg,
            f8=True,
            decimals=6,
        ),
    )
