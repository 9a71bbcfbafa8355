"""Logins of devices: every device has a secret of its own, none is stored in the database.

A secret is derived from the site key, 32 random bytes that exist once a site, and the device's id.
So the hub can print a login at any time and rebuild the broker's list of logins, while a stolen
database holds only hashes and a stolen device tells nothing about another. A device gets another
secret by another number, kept in the registry.
"""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from core.errors import ConfigError, StartError

SITE_KEY_BYTES: Final = 32
_FILE: Final = "site.key"


def load_site_key(folder: Path, *, make: bool = True) -> bytes:
    """Return the site key of a data folder; make it at the first start.

    Args:
        folder: The data folder; it must exist.
        make: Make the key where there is none.

    Raises:
        ConfigError: The file is not a site key, or there is none and ``make`` is false.
        StartError: The file cannot be read or written.
    """
    path = folder / _FILE
    try:
        if make and not path.exists():
            _write(path, secrets.token_bytes(SITE_KEY_BYTES))
        key = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no site key at {path}; start 'cityhub up' once, or name its data folder"
        ) from error
    except OSError as error:
        raise StartError(f"cannot use the site key {path}: {error.strerror}") from error
    if len(key) != SITE_KEY_BYTES:
        raise ConfigError(
            f"{path} is no site key: it has {len(key)} bytes instead of {SITE_KEY_BYTES};"
            " restore it from a backup, since every device's secret follows from it"
        )
    return key


def _write(path: Path, key: bytes) -> None:
    """Write the key under a temporary name and link it: never half a key, never over another's."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return  # another process was first: its key is the key
    finally:
        temporary.unlink()


def device_secret(site_key: bytes, device_id: str, number: int = 0) -> str:
    """Return a device's secret: 43 characters of base64url.

    Args:
        site_key: The site's.
        device_id: Whose.
        number: The how manieth secret of the device, from 0 on.

    >>> device_secret(bytes(32), "MH-0001")
    'RppFiUSZqa9uiRUbjeNSqb09J_ZFgImlFnldLUt72KQ'
    """
    # No id holds a colon, so that no device's first secret is another's second.
    what = f"{device_id}:{number}" if number else device_id
    digest = hmac.digest(site_key, what.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def secret_hash(secret: str) -> str:
    """Return what the database keeps of a secret: SHA-256, in hex.

    A secret has 256 random bits, so a slow hash would add nothing.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
