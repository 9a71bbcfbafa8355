import stat
from pathlib import Path

import pytest

from core.errors import ConfigError
from devices.secret import SITE_KEY_BYTES, device_secret, load_site_key, secret_hash


def test_the_first_start_makes_a_key_that_later_starts_find(tmp_path: Path) -> None:
    key = load_site_key(tmp_path)
    assert len(key) == SITE_KEY_BYTES
    assert load_site_key(tmp_path) == key
    assert load_site_key(tmp_path, make=False) == key


def test_only_its_owner_reads_the_key_and_nothing_else_is_left_behind(tmp_path: Path) -> None:
    load_site_key(tmp_path)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_command_that_must_not_make_a_key_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no site key"):
        load_site_key(tmp_path, make=False)


def test_half_a_key_is_refused_and_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "site.key").write_bytes(b"short")
    with pytest.raises(ConfigError, match="5 bytes"):
        load_site_key(tmp_path)
    assert (tmp_path / "site.key").read_bytes() == b"short"


def test_each_device_has_a_secret_of_its_own_on_each_site() -> None:
    one, other = b"1" * SITE_KEY_BYTES, b"2" * SITE_KEY_BYTES
    found = {device_secret(key, name) for key in (one, other) for name in ("MH-1", "MH-2")}
    assert len(found) == 4
    assert all(len(secret) == 43 for secret in found)
    assert len({secret_hash(secret) for secret in found} | found) == 8
