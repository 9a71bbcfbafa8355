"""In which encoding a file is: UTF-8, with or without a byte-order mark, or GB18030.

Spreadsheets in this country write GB18030 and say so nowhere. Nearly any bytes can be read as
GB18030, so a UTF-8 file with one broken byte must not be taken for it: what counts is whether most
characters beyond ASCII are good UTF-8.
"""

import codecs
from collections.abc import Callable
from pathlib import Path
from typing import Final

from core.model import Text
from devices.intake.problems import Problems

_CHUNK: Final = 1 << 20
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def find_encoding(
    path: Path, problems: Problems, progress: Callable[[int], None] = lambda done: None
) -> str | None:
    """Return how to decode a file, reading it once through in bounded memory.

    Args:
        path: The file.
        problems: Takes what is wrong with it.
        progress: Told how many bytes are done.

    Returns:
        ``"utf-8-sig"``, ``"gb18030"``, or None where it is neither, after noting why.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        problems.add(0, "", Text("文件是空的", "the file is empty"))
        return None
    if head.startswith(_UTF16):
        problems.add(
            0,
            "",
            Text(
                "文件是 UTF-16 编码；请另存为 CSV UTF-8",
                "the file is UTF-16; save it as 'CSV UTF-8'",
            ),
        )
        return None
    broken, foreign = _read_as_utf8(path, progress)
    if not broken:
        return "utf-8-sig"
    damaged = head.startswith(codecs.BOM_UTF8) or len(broken) * 2 <= foreign
    if not damaged and _is_gb18030(path):
        return "gb18030"
    for line in sorted(set(broken)):
        problems.add(
            line,
            "",
            Text(
                "此行有无法识别的字符：既不是 UTF-8 也不是 GB18030，请重新导出",
                "there are characters that are no UTF-8 here; export the file anew as UTF-8",
            ),
        )
    return None


def _read_as_utf8(path: Path, progress: Callable[[int], None]) -> tuple[list[int], int]:
    """Return the line of each broken character, and how many characters are not ASCII."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    broken: list[int] = []
    foreign = 0
    line = 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            text = decoder.decode(chunk, final=not chunk)
            foreign += len(text) - len(text.encode("ascii", "ignore"))
            start = 0
            while (at := text.find(_REPLACED, start)) >= 0 and len(broken) < _CHUNK:
                line += text.count("\n", start, at)
                broken.append(line)
                start = at + 1
            line += text.count("\n", start)
            progress(file.tell())
            if not chunk:
                return broken, foreign


def _is_gb18030(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("gb18030")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True
