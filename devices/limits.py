"""A device's own limits: ``{"level": {"orange": 3.2, "red": 4.0}}``, checked before they are kept.

They replace the kind's ladder as a whole. The key is the metric; where a metric is watched for too
much and for too little, it is the alarm rule instead.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from core.model import Severity, Text
from devices import KINDS
from devices.kind import DeviceKind, Limit
from devices.motion import GroundStep

_STEPS: Final = {severity.name.lower(): severity for severity in Severity}
_MOST: Final = 1e12


class LiveLimits(dict[int, Mapping[str, Any]]):
    """What differs of the watches of each device, by ``device_no``; the same object for ever.

    Its values are replaced and never changed in place. ``epoch`` rises with each change, so that
    whoever holds on to it need not compare.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def become(self, limits: Mapping[int, Mapping[str, Any]]) -> None:
        """Take over how things stand."""
        if limits != self:
            for device_no in self.keys() - limits.keys():
                del self[device_no]
            self.update(limits)
            self.epoch += 1


def limit_keys(kind: DeviceKind) -> dict[str, Limit | GroundStep]:
    """Return the keys that limits of a device of this kind may have, and what each replaces.

    How grave a step of the ground is, a device says under the rule's name.

    >>> sorted(limit_keys(KINDS["street_lamp"]))
    ['leak', 'lean', 'over_volt', 'under_volt']
    """
    limits = [watch for watch in kind.watches if isinstance(watch, Limit)]
    times = Counter(limit.metric for limit in limits)
    keys: dict[str, Limit | GroundStep] = {
        limit.metric if times[limit.metric] == 1 else limit.rule_id: limit for limit in limits
    }
    return keys | {w.rule_id: w for w in kind.watches if isinstance(w, GroundStep)}


def doubt_limits(kind_name: str, limits: object) -> Text | None:
    """Return why a device of this kind cannot have these limits, or None where it can.

    >>> doubt_limits("water_gauge", {"level": {"orange": 3.2, "red": 3.0}}).en
    'the steps of level do not get graver in order: orange 3.2, red 3.0'
    """
    if not isinstance(limits, Mapping):
        return Text(
            '限值必须是 {"level": {"red": 3.2}} 这样的对象',
            'limits must be an object such as {"level": {"red": 3.2}}',
        )
    kind = KINDS.get(kind_name)
    keys = limit_keys(kind) if kind else {}
    for key, steps in limits.items():
        if key not in keys:
            known = ", ".join(keys) or "-"
            return Text(
                f"{kind_name} 没有可设限值的 {key!r}，可用：{known}",
                f"{kind_name} has no limit {key!r}; it has: {known}",
            )
        doubt = _doubt_steps(key, steps, below=keys[key].below)
        if doubt:
            return doubt
    return None


def _doubt_steps(key: str, steps: Any, *, below: bool) -> Text | None:
    if not isinstance(steps, Mapping) or not steps or not steps.keys() <= _STEPS.keys():
        return Text(
            f"{key} 的限值须为 blue、yellow、orange、red 中的一级或几级",
            f"the limits of {key} must be some of blue, yellow, orange, red",
        )
    if not all(_is_number(at) for at in steps.values()):
        return Text(f"{key} 的限值必须是数字", f"the limits of {key} must be numbers")
    ladder = [(name, steps[name]) for name in _STEPS if name in steps]
    values = [at for _, at in ladder]
    if values != sorted(values, reverse=below):
        shown = ", ".join(f"{name} {at}" for name, at in ladder)
        return Text(
            f"{key} 的各级限值没有逐级加重：{shown}",
            f"the steps of {key} do not get graver in order: {shown}",
        )
    return None


def _is_number(value: object) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and -_MOST < value < _MOST
    )
