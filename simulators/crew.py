"""The crew behind the stand-in platform: signs for a work order, mends the thing, reports back.

It speaks to the hub as a department would, over its public API, and to the simulator as the world
would: what a crew repairs is no longer broken, and where nothing can be repaired, as in a flood, it
stands by until that is over. So a case of the demo comes to its verification with a sensor that is
really back at rest.
"""

import asyncio
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import CityhubError, ConfigError
from simulators import control

log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 10.0
_TRIES: Final = 6
_PAUSE_S: Final = 2.0
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by a proxy
_GONE_BY: Final = frozenset({404, 409, 422})  # somebody else was faster, or the case is over


@dataclass(frozen=True, slots=True)
class Order:
    """What a crew needs of a work order.

    Attributes:
        webhook_id: Id of the delivery.
        case_no: The case.
        device_id: Where to go.
        department: Who goes.
    """

    webhook_id: str
    case_no: str
    device_id: str
    department: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """How a crew works.

    Attributes:
        hub_url: Address of the hub's API, ``http://…`` or ``https://…``.
        token: The hub's token; None on loopback.
        simulator: Control socket of the simulator; None: nothing is mended.
        sign_s: Seconds from the order to its signature.
        work_s: Seconds from the signature to the report.
        inspect_s: Seconds from the report to a passed inspection; None: a person inspects.
    """

    hub_url: str
    token: str | None = None
    simulator: Path | None = None
    sign_s: float = 5.0
    work_s: float = 15.0
    inspect_s: float | None = None

    def __post_init__(self) -> None:
        if not self.hub_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"the hub's address must start with http:// or https://, not {self.hub_url}"
            )

    async def work(self, order: Order) -> None:
        """Carry out one order, from signature to report."""
        await asyncio.sleep(self.sign_s)
        actor = {"actor": order.department}
        if not await self._act(order, "sign", actor):
            return
        await asyncio.sleep(self.work_s)
        mended = await asyncio.to_thread(self._mend, order.device_id)
        await asyncio.to_thread(self._stand_by, order.device_id)
        note = "现场已处置，设施恢复原状" if mended else "现场已处置"
        if not await self._act(order, "feedback", {**actor, "note": note}):
            return
        log.info("work order done", extra={"case_no": order.case_no, "mended": mended})
        if self.inspect_s is not None:
            await asyncio.sleep(self.inspect_s)
            verdict = {"actor": "核查员", "passed": True, "note": "现场核查，设施完好"}
            await self._act(order, "verify", verdict)

    def _mend(self, device_id: str) -> int:
        """End what befell a device; return how many scenes that were."""
        if self.simulator is None:
            return 0
        try:
            return len(control.repair(self.simulator, device_id))
        except CityhubError as error:
            log.warning("nothing could be mended", extra={"reason": str(error)})
            return 0

    def _stand_by(self, device_id: str) -> None:
        """Wait until what befalls a device, and cannot be mended, is over."""
        try:
            while self.simulator and control.goes_on(self.simulator, device_id):
                time.sleep(_PAUSE_S)
        except CityhubError as error:
            log.warning("nobody knows whether it goes on", extra={"reason": str(error)})

    async def _act(self, order: Order, action: str, body: dict[str, Any]) -> bool:
        """Do one action on the case; try again while the hub cannot be reached."""
        path = f"/api/v1/cases/{order.case_no}/{action}"
        key = f"crew-{order.webhook_id}-{action}"
        return await patiently(lambda: self._post(path, key, body), order.case_no, action)

    def _post(self, path: str, key: str, body: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(  # noqa: S310 - checked above: http or https
            self.hub_url.rstrip("/") + path, json.dumps(body).encode(), headers, method="POST"
        )
        with _OPENER.open(request, timeout=_TIMEOUT_S):
            pass


async def patiently(post: Callable[[], None], case_no: str, action: str) -> bool:
    """Try an action a few times.

    Returns:
        Whether it was done; not, where the hub refuses or cannot be reached.
    """
    facts: dict[str, Any] = {"case_no": case_no, "action": action}
    for number in range(_TRIES):
        try:
            await asyncio.to_thread(post)
        except urllib.error.HTTPError as error:
            facts["reason"] = f"{error.code} {error.read(300).decode(errors='replace')}"
            error.close()
            if error.code in _GONE_BY:
                log.info("crew was not needed", extra=facts)
                return False
        except OSError as error:
            facts["reason"] = str(error)
        else:
            return True
        await asyncio.sleep(_PAUSE_S * (number + 1))
    log.warning("crew cannot reach the hub, the order stays open", extra=facts)
    return False
