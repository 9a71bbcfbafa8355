"""The reference of settings and the example file, made from the settings themselves.

``scripts/docs`` writes both; a test fails when they are out of date, so a setting without a word of
explanation cannot be released.
"""

from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args

from core.settings import Settings

_HEAD: Final = """\
# Settings

Made from `core/settings.py` by `scripts/docs`; edit there.

One TOML file, named by `--config` or `CITYHUB_CONFIG`. The environment variable of a setting wins
over the file. A key nobody knows is refused by its name. Secrets are never logged.
"""


def describe_settings() -> str:
    """Return the reference page of all settings, Markdown."""
    parts = [_HEAD]
    for section, field in Settings.model_fields.items():
        model: Any = field.annotation
        parts.append(f"\n## [{section}] {_line(model.__doc__ or '')}\n")
        parts.append("| key | environment | default | what it is |\n| --- | --- | --- | --- |")
        parts += [
            f"| `{key}` | `CITYHUB_{section.upper()}_{key.upper()}`"
            f" | {_show(item.default)} | {_line(item.description or '')} |"
            for key, item in model.model_fields.items()
        ]
    return "\n".join(parts) + "\n"


def example_toml() -> str:
    """Return ``cityhub.example.toml``: every setting with its default, those without commented."""
    lines = [
        "# All settings with their defaults. Made from core/settings.py by scripts/docs.",
        "# Each may also be given as CITYHUB_<SECTION>_<KEY>.",
    ]
    for section, field in Settings.model_fields.items():
        model: Any = field.annotation
        lines += ["", f"# {_comment(model.__doc__)}", f"[{section}]"]
        for key, item in model.model_fields.items():
            lines.append(f"# {_comment(item.description)}")
            if item.default is None:
                lines.append(f"# {key} = {_placeholder(item.annotation)}")
            else:
                lines.append(f"{key} = {_toml(item.default)}")
    return "\n".join(lines) + "\n"


def _comment(text: str | None) -> str:
    return _line(text or "").replace("``", "")


def _line(text: str) -> str:
    return " ".join(text.split())


def _show(value: object) -> str:
    return "unset" if value is None else f"`{_toml(value)}`"


def _placeholder(annotation: Any) -> str:
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return '"/path"' if kinds == [Path] else '"…"'


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case _:
            return f'"{value}"'
