"""The class model as arrays gives what scikit-learn gives, and is read only when it is known."""

import builtins
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from analytics.forest import read_model, write_model
from analytics.training import find_library, grow, watch_of
from core.errors import ConfigError, NotFoundError


@pytest.fixture(scope="module")
def lamps() -> np.ndarray[Any, np.dtype[np.float64]]:
    chance = np.random.default_rng(7)
    power = 120 + chance.normal(0, 1.2, 3000)
    rest = [chance.normal(0.95, 0.01, 3000), 0.35 * power, chance.normal(2, 0.5, 3000)]
    return np.stack([power, *rest], 1) + chance.normal(0, 0.01, (3000, 4))


def test_our_arrays_score_as_the_forest_they_came_from(lamps: Any) -> None:
    ours = grow(lamps, trees=25)
    theirs = IsolationForest(n_estimators=25, max_samples=256, random_state=7)
    theirs.fit(ours.whiten(lamps))
    strange = np.vstack([lamps[:200], lamps[:50] * 1.3])
    expected = -theirs.score_samples(ours.whiten(strange))
    assert ours.score(strange) == pytest.approx(expected, abs=1e-9)


def test_what_is_odd_scores_above_what_was_learnt(lamps: Any) -> None:
    model = grow(lamps, trees=50)
    odd = np.array([[60.0, 0.7, 20.0, 14.0]])
    assert model.score(odd)[0] > model.odd
    assert model.distance(odd)[0] > model.far
    assert (model.distance(lamps) > model.far).mean() == pytest.approx(0.05, abs=0.002)


def test_the_same_rows_give_the_same_file(lamps: Any, tmp_path: Path) -> None:
    one, path = write_model(grow(lamps, trees=5), tmp_path)
    two, _ = write_model(grow(lamps, trees=5), tmp_path)
    assert one == two
    again = read_model(path, one)
    assert again.score(lamps[:9]).tolist() == grow(lamps, trees=5).score(lamps[:9]).tolist()


def test_a_file_that_was_changed_is_not_read(lamps: Any, tmp_path: Path) -> None:
    digest, path = write_model(grow(lamps, trees=2), tmp_path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ConfigError, match="not the file that was trained"):
        read_model(path, digest)


def test_a_pickle_is_never_opened_even_under_its_own_hash(tmp_path: Path) -> None:
    from hashlib import sha256

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "trap.npz"
    np.savez(path, mean=np.array([Trap()], dtype=object))
    with pytest.raises(ConfigError, match="no model of this version"):
        read_model(path, sha256(path.read_bytes()).hexdigest())
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the model"):
        read_model(tmp_path / "none.npz", "0" * 64)


def test_without_the_extra_training_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *more: Any, **kinds: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *more, **kinds)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"pip install 'cityhub\[train\]'"):
        find_library()


def test_a_kind_without_a_class_model_is_refused() -> None:
    with pytest.raises(NotFoundError, match="street_lamp"):
        watch_of("water_gauge")
