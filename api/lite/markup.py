"""HTML that cannot be broken out of: whatever is not made here is escaped, in this one place."""

from html import escape
from typing import Final

_VOID: Final = frozenset({"meta", "link", "input", "br", "hr"})
_TURNING: Final = dict.fromkeys(
    (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C), "\ufffd"
)


class Html(str):
    """Markup that is safe to show as it is."""

    __slots__ = ()


def tag(
    element: str,
    /,
    *children: Html | str | float | None,
    **attributes: str | float | bool | None,
) -> Html:
    """Return an element.

    Args:
        element: Its name, ours.
        children: Markup, or text that is escaped; None is left out.
        attributes: Values are escaped; True is a bare name, None and False are left out. A trailing
            underscore is cut and the others become hyphens: ``class_``, ``aria_label``.

    >>> tag("a", "<b>", href='"x"', class_="row", hidden=False)
    '<a href="&quot;x&quot;" class="row">&lt;b&gt;</a>'
    """
    opened = element + "".join(_attribute(key, value) for key, value in attributes.items())
    if element in _VOID:
        return Html(f"<{opened}>")
    return Html(f"<{opened}>{join(*children)}</{element}>")


def join(*children: Html | str | float | None) -> Html:
    """Return the children one after the other, escaped where they are text."""
    return Html("".join(_child(child) for child in children if child is not None))


def name(text: str) -> Html:
    """Return what somebody called a thing, set apart so that its script turns nothing around it.

    >>> name("<script>"), name("gpj\u202eexe")
    ('<bdi>&lt;script&gt;</bdi>', '<bdi>gpj\ufffdexe</bdi>')
    """
    return tag("bdi", text)


def _child(child: Html | str | float) -> str:
    return child if isinstance(child, Html) else _safe(str(child))


def _safe(text: str) -> str:
    """Escape, and make visible the characters that would turn the text around them."""
    return escape(text.translate(_TURNING))


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    key = key.rstrip("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{_safe(str(value))}"'
