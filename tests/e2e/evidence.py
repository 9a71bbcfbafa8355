"""Whether anything came twice: without a redelivery a run that killed workers proves nothing.

A session shows it in the ledger, as duplicates of what was committed and never acknowledged. A log
leaves no trace in the database, for the offset is in the transaction. There the server is the
witness: each worker reads through a consumer of its own, which outlives it for minutes and knows
how far it was served, and the next one tells where it began.
"""

import json
import socket
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

_LIST: Final = "$JS.API.CONSUMER.LIST.HUB"
_PATIENCE_S: Final = 10.0


def delivered_again(nats_url: str) -> int:
    """Return how many messages of the log a worker got that one before it had got already.

    Args:
        nats_url: The log with the hub's login. It must have run without a break since the first
            kill: its consumers are in memory.
    """
    readers = sorted(_consumers(nats_url), key=lambda reader: str(reader["created"]))
    return sum(
        max(0, before["delivered"]["stream_seq"] - after["config"]["opt_start_seq"] + 1)
        for before, after in pairwise(readers)
    )


def _consumers(nats_url: str) -> list[dict[str, Any]]:
    """Return the consumers of the hub's workers, dead and alive, as the server tells them."""
    door = urlsplit(nats_url)
    login = {"user": door.username, "pass": door.password, "verbose": False}
    ask = f"CONNECT {json.dumps(login)}\r\nSUB _INBOX.evidence 1\r\n"
    with socket.create_connection((str(door.hostname), door.port), _PATIENCE_S) as server:
        server.sendall(f"{ask}PUB {_LIST} _INBOX.evidence 0\r\n\r\n".encode())
        with server.makefile("rb") as lines:
            for line in lines:
                assert not line.startswith(b"-ERR"), line
                if line.startswith(b"MSG "):
                    answer = json.loads(lines.read(int(line.split()[-1])))
                    break
            else:
                raise ConnectionError("the log hangs up")
    assert "error" not in answer, answer
    assert answer["total"] == len(answer["consumers"]), "more readers than one page"
    return [
        reader
        for reader in answer["consumers"]
        if reader["config"]["deliver_policy"] == "by_start_sequence"
    ]
