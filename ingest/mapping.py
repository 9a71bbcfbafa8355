"""What a maker's payload should have said (字段映射): fields renamed, scaled and shifted.

A mapping is tried on quarantined payloads and used when they are taken up again. It works on the
fields of a record as JSON gives them, before any check: so what it makes is judged as if the device
had sent it, and a wrong mapping ends in quarantine like a wrong payload.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import msgspec

from core.errors import ConflictError

MOST_FIELDS: Final = 64


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """How the fields of a record are changed; in this order.

    Attributes:
        rename: The name the device sends, and the name that the thing model has.
        scale: By new name, what its number is multiplied with. A number written as text becomes a
            number, so a factor of 1 mends ``"tilt": "3.5"``.
        offset: By new name, what is then added, in the metric's unit.
    """

    rename: dict[str, str] = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)
    offset: dict[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.rename or self.scale or self.offset)

    def apply(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record with its fields changed.

        A field that a rename would put upon another one that is there keeps its old name: nothing
        is lost, and the check that follows names it.

        >>> mapping = FieldMapping({"angle": "tilt"}, {"tilt": 0.1}, {"tilt": -2})
        >>> mapping.apply({"t": 1, "angle": "35"})
        {'t': 1, 'tilt': 1.5}
        """
        taken = record.keys() - self.rename.keys()
        changed: dict[str, Any] = {}
        for key, value in record.items():
            name = self.rename.get(key, key)
            changed[key if name in taken or name in changed else name] = value
        for name in self.scale.keys() | self.offset.keys():
            if name in changed:
                factor, shift = self.scale.get(name, 1.0), self.offset.get(name, 0.0)
                changed[name] = _linear(changed[name], factor, shift)
        return changed

    def as_json(self) -> dict[str, Any]:
        """Return it as :func:`read_mapping` takes it."""
        return {"rename": self.rename, "scale": self.scale, "offset": self.offset}


def read_mapping(body: Any) -> FieldMapping:
    """Return a mapping written as JSON.

    Raises:
        ConflictError: A sentence on what is wrong with it.
    """
    if body is None:
        return FieldMapping()
    try:
        mapping = msgspec.convert(body, FieldMapping)
    except msgspec.ValidationError as error:
        raise ConflictError(f"the mapping: {error}") from error
    if strange := sorted(body.keys() - {"rename", "scale", "offset"}):
        raise ConflictError(f"the mapping: {strange[0]!r} is not rename, scale or offset")
    if len(mapping.rename) + len(mapping.scale) + len(mapping.offset) > MOST_FIELDS:
        raise ConflictError(f"the mapping: more than {MOST_FIELDS} fields")
    return mapping


def _linear(value: Any, factor: float, shift: float) -> Any:
    """Return ``value × factor + shift`` in decimal, so that 35 × 0.1 is 3.5; else the value."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        exact = Decimal(str(value).strip()) * Decimal(str(factor)) + Decimal(str(shift))
        number = float(exact)
    except ArithmeticError:
        return value
    if not math.isfinite(number):
        return value
    return int(exact) if number.is_integer() and int(exact) == exact else number
