"""People who need help (人员求助): what several kinds' alarm buttons and fall sensors mean here."""

from typing import Final

from core.model import Severity, Text
from devices.kind import AlarmRule

HELP: Final = "0491"
"""A person in need among the city's events: an extension of ours, see ``data/city_codes.json``."""


def help_rule(rule_id: str, zh: str, en: str) -> AlarmRule:
    """Return a rule on somebody in need: red, stays until a person has looked."""
    return AlarmRule(
        rule_id,
        Text(zh, en),
        Severity.RED,
        latched=True,
        quiet_clear_s=1800,
        allowed_lateness_s=3600,
        class_code=HELP,
        category="event",
        verify="human",
        handle_hours=1,
        on_site_minutes=15,
    )


SOS: Final = help_rule("sos", "一键求助", "Call for help")
