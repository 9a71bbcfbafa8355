"""The ledger of a run (试验台账): what was sent, what was acknowledged, and what must come of it.

An append-only file of JSON arrays, one a line, the first word says of what. It is not to be mixed
up with the hub's own account, ``hub.ledger``: this one is kept by the senders, and the hub cannot
reach it.

``["run", kind, micros]`` · ``["sent", device, seq]`` before it goes out the first time ·
``["acked", device, seq]`` · ``["alarm", device, rule, dispatched]`` that physics says must come ·
``["fault", micros, words]`` · ``["base", pid, rss_kb, descriptors]``
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulators.footprint import Footprint

Key = tuple[str, int]
"""Device id and counter."""


class RunLedger:
    """Appends to the file of a run.

    Args:
        path: The file; a run may be continued.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")

    def begin(self, kind: str, at: int) -> None:
        """Note the kind of the devices and the beginning, microseconds UTC."""
        self._write([["run", kind, at]])

    def sending(self, keys: Iterable[Key]) -> None:
        """Note messages that are about to go out."""
        self._write(["sent", *key] for key in keys)

    def acknowledged(self, keys: Iterable[Key]) -> None:
        """Note messages that the broker has taken."""
        self._write(["acked", *key] for key in keys)

    def expect_alarm(self, device_id: str, rule_id: str, *, dispatched: bool) -> None:
        """Note an alarm that must come, perhaps as far as a work order."""
        self._write([["alarm", device_id, rule_id, dispatched]])

    def fault(self, at: int, words: str) -> None:
        """Note what was broken on purpose, and when, microseconds UTC."""
        self._write([["fault", at, words]])

    def base(self, footprint: Footprint) -> None:
        """Note what a process takes before the run."""
        self._write([["base", footprint.pid, footprint.rss_kb, footprint.descriptors]])

    def close(self) -> None:
        """End it."""
        self._file.close()

    def _write(self, lines: Iterable[list[Any]]) -> None:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        if text:
            self._file.write(text)
            self._file.flush()


@dataclass(slots=True)
class Run:
    """What the file says.

    Attributes:
        kind: Of its devices.
        began: Microseconds UTC.
        sent: Every message that may have left.
        acked: Those that the broker took, with how often it said so.
        alarms: What must come: device and rule, and whether it must be dispatched.
        faults: What was broken, by time.
        base: What processes took before.
    """

    kind: str = ""
    began: int = 0
    sent: set[Key] = field(default_factory=set)
    acked: Counter[Key] = field(default_factory=Counter)
    alarms: dict[tuple[str, str], bool] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)
    base: list[Footprint] = field(default_factory=list)

    @property
    def devices(self) -> list[str]:
        """Who spoke."""
        return sorted({device for device, _ in self.sent})

    def take(self, what: str, *words: Any) -> None:
        """Take one line.

        Raises:
            ValueError: It is none of a run ledger.
        """
        match what, words:
            case "run", (str(kind), int(at)):
                self.kind, self.began = kind, self.began or at
            case "sent", (str(device), int(seq)):
                self.sent.add((device, seq))
            case "acked", (str(device), int(seq)):
                self.acked[device, seq] += 1
            case "alarm", (str(device), str(rule), bool(dispatched)):
                self.alarms[device, rule] = dispatched
            case "fault", (int(at), str(text)):
                self.faults.append((at, text))
            case "base", (int(pid), int(rss), int(descriptors)):
                self.base.append(Footprint(pid, rss, descriptors))
            case _:
                raise ValueError(f"a run ledger has no line {[what, *words]!r}")


def read_run(path: Path) -> Run:
    """Return what a run's file says; a line torn at the end is left out.

    Raises:
        ValueError: It is no such file.
    """
    run = Run()
    *whole, _ = path.read_text("utf-8").split("\n")
    for line in whole:
        run.take(*json.loads(line))
    if not run.kind:
        raise ValueError(f"{path} is no run ledger: it does not begin with a run")
    return run
