"""An easier rival, where there is no C compiler: it formats and writes each message.

``python -m cityhub.bench.subscribe PORT USER PASSWORD CLIENT_ID RECEIVE_MAXIMUM MESSAGES`` runs
``mosquitto_sub`` with a stopwatch and prints one JSON object like ``tests/bench/counter.c``.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence


def subscribe(words: Sequence[str]) -> dict[str, float]:
    """Run it to its last message; return seconds of wall time and of CPU."""
    port, user, password, client_id, window, messages = words
    where = ["-h", "127.0.0.1", "-p", port, "-u", user, "-P", password]
    how = ["-V", "5", "-i", client_id, "-c", "-q", "1", "-t", "hub/#", "-C", messages, "-x", "3600"]
    before, start = os.times(), time.perf_counter()
    subprocess.run(
        ["mosquitto_sub", *where, *how, "-D", "connect", "receive-maximum", window],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return {"messages": int(messages), "wall_s": wall, "cpu_s": cpu}


if __name__ == "__main__":
    print(json.dumps(subscribe(sys.argv[1:])))
