"""A class model as arrays: whitening and an isolation forest over it, judged with numpy alone.

The file is an ``.npz`` of plain arrays, read with pickle switched off, and only where its SHA-256
is what the database says: what a file says then decides nothing but numbers. The score is that of
Liu, Ting and Zhou (2008): ``2^(-E(h) / c(n))``, near 1 for what is isolated by few cuts.
"""

import hashlib
import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

_EULER: Final = 0.5772156649015329
_LEAF: Final = -1


@dataclass(frozen=True, slots=True)
class ClassForest:
    """A trained model of one kind.

    Attributes:
        mean: ``(k,)`` of the training rows.
        white: ``(k, k)`` inverse of the Cholesky factor of their covariance.
        far: Distance that 95 of 100 training rows stay under.
        odd: Forest's score that 99 of 100 training rows stay under.
        sample: Rows each tree was grown from.
        roots: ``(trees + 1,)`` where each tree begins in the arrays of nodes.
        feature: ``(nodes,)`` column that a node cuts, -1: a leaf.
        cut: ``(nodes,)`` rows at or under it go left.
        left: ``(nodes,)`` place of the left child within its tree.
        right: ``(nodes,)`` likewise.
        depth: ``(nodes,)`` of a leaf: its depth, and what its rows would take to be parted.
    """

    mean: Floats
    white: Floats
    far: Floats
    odd: Floats
    sample: Floats
    roots: Ints
    feature: Ints
    cut: Floats
    left: Ints
    right: Ints
    depth: Floats

    def distance(self, x: Floats) -> Floats:
        """Return ``(n,)`` the Mahalanobis distance of rows ``(n, k)``, over the root of k."""
        away: Floats = np.sqrt((self.whiten(x) ** 2).sum(axis=1) / len(self.mean))
        return away

    def whiten(self, x: Floats) -> Floats:
        """Return rows ``(n, k)`` with what goes together taken apart, each of spread 1."""
        return (x - self.mean) @ self.white.T

    def score(self, x: Floats) -> Floats:
        """Return ``(n,)`` how isolated rows ``(n, k)`` are, 0 to 1."""
        x = self.whiten(x).astype(np.float32)  # the precision that the trees were grown in
        total = np.zeros(len(x))
        for root in self.roots[:-1].tolist():
            at = np.full(len(x), root)
            inner = np.flatnonzero(self.feature[at] != _LEAF)
            while len(inner):
                node = at[inner]
                goes_left = x[inner, self.feature[node]] <= self.cut[node]
                at[inner] = root + np.where(goes_left, self.left[node], self.right[node])
                inner = inner[self.feature[at[inner]] != _LEAF]
            total += self.depth[at]
        mean = total / (len(self.roots) - 1)
        score: Floats = np.exp2(-mean / usual_depth(self.sample)[()])
        return score


def usual_depth(rows: Floats) -> Floats:
    """Return the mean depth at which a row is parted from so many others.

    >>> usual_depth(np.array([1.0, 2.0, 256.0])).round(2).tolist()
    [0.0, 1.0, 10.24]
    """
    many = np.maximum(rows, 3.0)
    usual: Floats = 2 * (np.log(many - 1) + _EULER) - 2 * (many - 1) / many
    return np.where(rows <= 1, 0.0, np.where(rows <= 2, 1.0, usual))  # noqa: PLR2004 - of two rows one cut


def write_model(model: ClassForest, folder: Path) -> tuple[str, Path]:
    """Write a model into a folder, made if missing, under its hash.

    Returns:
        The SHA-256 of the file, and where it is.
    """
    body = io.BytesIO()
    np.savez_compressed(body, **{each.name: getattr(model, each.name) for each in fields(model)})
    digest = hashlib.sha256(body.getvalue()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest}.npz"
    part = path.with_suffix(".part")
    part.write_bytes(body.getvalue())
    part.replace(path)
    return digest, path


def read_model(path: Path, digest: str) -> ClassForest:
    """Read a model of which the hash is known.

    Raises:
        ConfigError: The file is missing, is another one, or is no model.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the model {path}: {error.strerror}") from error
    if hashlib.sha256(body).hexdigest() != digest:
        raise ConfigError(f"the model {path} is not the file that was trained; it is not read")
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            return ClassForest(**{each.name: arrays[each.name] for each in fields(ClassForest)})
    except (KeyError, ValueError) as error:
        raise ConfigError(f"the model {path} is no model of this version: {error}") from error
