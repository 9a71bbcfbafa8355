"""Classes and sub-classes of components and events (大类, 小类), by their four digits.

The table is a seed in ``data/city_codes.json`` that a city replaces with its own; nothing decides
by a name, since two codes may carry the same.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, Literal

Category = Literal["component", "event"]

COMPONENT_CODE_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class CityClass:
    """A sub-class of things in the city.

    Attributes:
        code: Class and sub-class, 4 digits, such as ``"0102"``.
        name: Its Chinese name (污水井盖).
        group: Name of its class (公用设施).
        extension: It is this project's own and stands in no standard.
    """

    code: str
    name: str
    group: str
    extension: bool = False


@cache
def classes(category: Category) -> dict[str, CityClass]:
    """Return the sub-classes of components (部件) or events (事件) by code.

    >>> classes("component")["0118"].name
    '路灯'
    """
    table = json.loads((files("devices") / "data" / "city_codes.json").read_text("utf-8"))
    name = f"{category}s"
    groups = {group["code"]: group["name"] for group in table[name]}
    found = [
        CityClass(sub["code"], sub["name"], group["name"])
        for group in table[name]
        for sub in group["subs"]
    ]
    found += [
        CityClass(sub["code"], sub["name"], groups[sub["code"][:2]], extension=True)
        for sub in table["extensions"][name]
    ]
    return {each.code: each for each in found}


def class_name(code: str, category: Category) -> str:
    """Return the Chinese name of a code; the code itself where the table does not know it.

    >>> class_name("0102", "component"), class_name("9999", "event")
    ('污水井盖', '9999')
    """
    known = classes(category).get(code)
    return known.name if known else code
