"""What a scene is: a cause that befalls some devices, and what the hub must make of it, and not.

A scene is data (whom, how long, what must follow) and a small act: how the readings of its devices
change, and which messages they send besides, as a device does that wakes up. What must *not* follow
is never left out: a hub that always alarms would pass every scene without it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from core.errors import NotFoundError
from core.model import Severity, Text
from simulators.city_devices import CityDevice

Values = dict[str, float]
Expectation = Mapping[str, Any]
"""``rule``, and any of ``on`` (``node`` or ``device``), ``count``, ``severity``, ``within_s``,
``audience``, ``notified``, ``case``, ``clears_by``."""
Light = Literal["any", "day", "dusk", "night"]
Choose = Callable[
    [str, Sequence[CityDevice], str, Mapping[str, float], np.random.Generator],
    tuple[str, Sequence[CityDevice]],
]
"""Picks node and devices from kind, all devices, target, parameters and chance."""


@dataclass(frozen=True, slots=True)
class Cue:
    """A message that a device sends because of the scene.

    Attributes:
        after_s: Seconds since the scene began; of a closing cue, since it ended.
        device_id: Who sends it.
        event: Name of an event; empty: a reading.
        on: The event's condition starts or ends; None: a pulse.
        metrics: What the event carries of the reading of that moment.
    """

    after_s: float
    device_id: str
    event: str = ""
    on: bool | None = None
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays in one performance of a scene.

    Attributes:
        node: The cause itself: a device, feeder or gateway.
        devices: Those whose messages change, by id.
        lasts_s: How long it lasts, in seconds.
        parameters: The scene's parameters, defaults filled in.
        chance: Its own.
    """

    node: str
    devices: Mapping[str, CityDevice]
    lasts_s: float
    parameters: Mapping[str, float]
    chance: np.random.Generator


class Act(Protocol):
    """What happens to the devices of one performance."""

    def cues(self) -> Sequence[Cue]:
        """Return what they send because of it."""

    def shape(self, device_id: str, since_s: float, values: Values) -> bool:
        """Change what a device measures, ``since_s`` seconds after the beginning.

        Returns:
            False where the device is silent.
        """

    def closing(self) -> Sequence[Cue]:
        """Return what they send once it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A scene.

    Attributes:
        name: What maintainers call it.
        label: What it is, in a few words.
        about: What happens, in a sentence.
        cause: The cause in the truth file.
        kind: Kind of the devices that it befalls.
        severity: How grave the cause is; None: it is nothing at all.
        lasts_s: How long, in seconds, unless told otherwise.
        choose: Picks node and devices; a target it cannot take is a ``NotFoundError``.
        act: Makes the act of a cast.
        parameters: Names and defaults.
        must: What the hub must make of it.
        must_not: What it must not make of it; never empty.
        mendable: A crew can end it; a flood nobody can.
        light: When there is anything to see of it: a dark lamp by day is no fault, and what a
            lamp's supply does by and by shows before it is dimmed, so it begins at dusk.
    """

    name: str
    label: Text
    about: Text
    cause: str
    kind: str
    severity: Severity | None
    lasts_s: float
    choose: Choose
    act: Callable[[Cast], Act]
    parameters: Mapping[str, float] = field(default_factory=dict)
    must: tuple[Expectation, ...] = ()
    must_not: tuple[Expectation, ...]
    mendable: bool = True
    light: Light = "any"

    def __post_init__(self) -> None:
        if not self.must_not:
            raise ValueError(f"scene {self.name!r} must say what must not follow from it")

    def cast(
        self,
        devices: Sequence[CityDevice],
        target: str,
        parameters: Mapping[str, float],
        chance: np.random.Generator,
        lasts_s: float | None = None,
    ) -> Cast:
        """Return who plays.

        Args:
            devices: All of the city.
            target: Id of a device, feeder or gateway, several with commas; empty: the scene picks.
            parameters: Others than the defaults.
            chance: What the choice and the act draw from.
            lasts_s: How long; None: as the scene says.

        Raises:
            NotFoundError: A parameter or a target that the scene does not know.
        """
        for name in parameters:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise NotFoundError(f"scene {self.name} has no parameter {name!r}; it has {known}")
        chosen = {**self.parameters, **parameters}
        node, players = self.choose(self.kind, devices, target, chosen, chance)
        return Cast(
            node,
            {player.device_id: player for player in players},
            self.lasts_s if lasts_s is None else lasts_s,
            chosen,
            chance,
        )


def choose_devices(
    kind: str,
    devices: Sequence[CityDevice],
    target: str,
    parameters: Mapping[str, float],
    chance: np.random.Generator,
) -> tuple[str, Sequence[CityDevice]]:
    """Take the named devices of the kind, or ``count`` of them at random; the first is the node."""
    able = {device.device_id: device for device in devices if device.kind == kind}
    if not able:
        raise NotFoundError(f"there is no {kind} in this city")
    if target:
        names = [name.strip() for name in target.split(",")]
        for name in names:
            if name not in able:
                raise NotFoundError(f"there is no {kind} {name!r} here, such as {next(iter(able))}")
        return names[0], [able[name] for name in names]
    count = min(int(parameters.get("count", 1)), len(able))
    picked = chance.choice(sorted(able), count, replace=False)
    return str(picked[0]), [able[str(name)] for name in picked]


def choose_members(node_kind: str) -> Choose:
    """Take all devices of one feeder or gateway, the largest unless it is named."""

    def choose(
        kind: str,
        devices: Sequence[CityDevice],
        target: str,
        parameters: Mapping[str, float],
        chance: np.random.Generator,
    ) -> tuple[str, Sequence[CityDevice]]:
        del parameters, chance
        members: dict[str, list[CityDevice]] = {}
        for device in devices:
            node = getattr(device, node_kind)
            if node and device.kind == kind:
                members.setdefault(node, []).append(device)
        if not members:
            raise NotFoundError(f"no {kind} has a {node_kind} in this city")
        node = target or max(sorted(members), key=lambda name: len(members[name]))
        if node not in members:
            raise NotFoundError(f"there is no {node_kind} {node!r} here, such as {min(members)}")
        return node, members[node]

    return choose
