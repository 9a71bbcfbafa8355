"""Chance, always seeded: one generator for each device and each stream of it.

Adding a device, a scene or a stream changes the numbers of no other. The root is
``blake2b(seed, scenario, device, stream)``, so no order of calls, threads or sets can matter.
"""

from hashlib import blake2b

import numpy as np


def _digest(seed: int, scenario: str, device_id: str, stream: str) -> int:
    words = "\0".join((str(seed), scenario, device_id, stream))
    return int.from_bytes(blake2b(words.encode(), digest_size=16).digest())


def generator(seed: int, scenario: str, device_id: str, stream: str) -> np.random.Generator:
    """Return the generator of one stream of one device.

    Args:
        seed: Of the whole run.
        scenario: Name of the scenario.
        device_id: Whose chance it is; any name where no device is meant.
        stream: What it is for, such as ``"noise"`` or ``"route"``.

    >>> round(generator(7, "rest", "MH-1", "noise").random(), 6)
    0.086537
    """
    return np.random.Generator(np.random.PCG64(_digest(seed, scenario, device_id, stream)))


def share(seed: int, scenario: str, device_id: str, stream: str) -> float:
    """Return one fixed number in [0, 1), cheaper than a generator.

    >>> round(share(7, "rest", "MH-1", "phase"), 6)
    0.662803
    """
    return (_digest(seed, scenario, device_id, stream) >> 75) / (1 << 53)
