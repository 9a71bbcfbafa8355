"""What the desk can do to cases beside their handling, as the API calls it."""

from datetime import datetime
from typing import Protocol


class Outcome(Protocol):
    """What an action left behind."""

    @property
    def version(self) -> int:
        """The new version of the case."""

    @property
    def event_id(self) -> int:
        """Its entry in the event log, hence its id on the feed."""


class Filing(Outcome, Protocol):
    """What taking in a report left behind."""

    @property
    def case_no(self) -> str:
        """The case."""


class CaseDesk(Protocol):
    """The actions of clerks, shift leaders and directors; ``version`` as in ``Actions``."""

    async def report(
        self,
        *,
        actor: str,
        source: str,
        category: str,
        class_code: str,
        description: str,
        lon: float | None = None,
        lat: float | None = None,
        address: str = "",
        grid_code: str | None = None,
        component_code: str | None = None,
        severity: int = 2,
        reporter: str = "",
        report_no: str | None = None,
    ) -> Filing:
        """Take in what people report (上报)."""

    async def accept(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """Accept it (受理)."""

    async def request_check(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Have somebody look before it is filed (核实)."""

    async def confirm(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """Say that it is as reported."""

    async def file_case(self, case_no: str, *, actor: str, version: int | None = None) -> Outcome:
        """File it (立案)."""

    async def reject(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Refuse to file it (不予立案)."""

    async def void(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Declare it void before it is filed (作废)."""

    async def merge(
        self, case_no: str, *, actor: str, into: str, version: int | None = None
    ) -> Outcome:
        """Merge it into another (并案)."""

    async def join(
        self, case_no: str, *, actor: str, incident_id: int, version: int | None = None
    ) -> Outcome:
        """Let it take in what sensors saw."""

    async def urge(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Urge whoever has it (催办)."""

    async def supervise(
        self, case_no: str, *, actor: str, level: int, reason: str, version: int | None = None
    ) -> Outcome:
        """Supervise it (督办)."""

    async def extend(
        self, case_no: str, *, actor: str, hours: float, reason: str, version: int | None = None
    ) -> Outcome:
        """Ask for more time (延期)."""

    async def suspend(
        self,
        case_no: str,
        *,
        actor: str,
        review_at: datetime,
        reason: str,
        version: int | None = None,
    ) -> Outcome:
        """Ask to put it aside (挂账)."""

    async def decide(
        self,
        case_no: str,
        *,
        actor: str,
        type: str,  # noqa: A002 - the name of the field
        approved: bool,
        version: int | None = None,
    ) -> Outcome:
        """Approve or refuse what was asked for (审批)."""

    async def resume(
        self, case_no: str, *, actor: str, reason: str, version: int | None = None
    ) -> Outcome:
        """Take a suspended case up again (恢复)."""
