"""Components (部件): the things of the city that somebody owns, by their 16-digit codes.

A code is text for ever: as a number it loses its zeros, and a spreadsheet shows it as 3.2E+15.
"""

import re
from dataclasses import dataclass
from typing import Final

COMPONENT_CODE: Final = re.compile(r"[0-9]{16}")
CLASS_CODE: Final = re.compile(r"[0-9]{2}([0-9]{2})?")
"""A class (大类), or a class and sub-class (小类)."""


@dataclass(frozen=True, slots=True)
class ComponentCode:
    """What a component's code (部件标识码) says: CJ/T 214, 6 + 2 + 2 + 6 digits.

    Attributes:
        county: County or district (GB/T 2260), 6 digits.
        class_code: Class and sub-class, 4 digits.
        serial: Serial number, 6 digits.
    """

    county: str
    class_code: str
    serial: str


def parse_component_code(code: str) -> ComponentCode:
    """Return the parts of a component's code.

    Raises:
        ValueError: It is not 16 digits.

    >>> parse_component_code("3205820102048188")
    ComponentCode(county='320582', class_code='0102', serial='048188')
    """
    if not COMPONENT_CODE.fullmatch(code):
        raise ValueError(f"{code!r} is no component code: 16 digits")
    return ComponentCode(code[:6], code[6:10], code[10:])
