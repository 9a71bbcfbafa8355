"""What staff do to alarms and cases, each in one transaction with its audit and its events.

A person says which version they saw; whoever comes second is told who was first, and nothing is
overwritten. What may follow on what is decided in :mod:`alerts.alarm`,
:mod:`alerts.suppression` and :mod:`alerts.case`.
"""

from alerts.alarm_actions import AlarmActions
from alerts.desk_actions import DeskActions
from alerts.incident_actions import IncidentActions
from alerts.side_actions import SideActions
from alerts.staff import Filing, Outcome
from alerts.window_actions import WindowActions

__all__ = ["Filing", "Outcome", "StaffActions"]


class StaffActions(AlarmActions, IncidentActions, DeskActions, SideActions, WindowActions):
    """The actions of staff.

    Every method raises :class:`NotFoundError` where there is no such thing,
    :class:`ConflictError` where somebody was first or the state forbids it, and
    :class:`ForbiddenError` where another role may. ``version`` is what the person saw; None:
    whatever it is now.
    """
