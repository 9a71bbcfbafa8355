"""The devices of the city (设备台账): a row each in ``hub.device``, numbered by the database.

Numbers are for ever: a process that hands them out by itself would give one number to two devices
after a restart. Workers keep a :class:`Registry`, a snapshot in memory, and load it again when the
channel ``hub_device`` says that something changed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from core.batch import Finding
from core.errors import ConflictError, NotFoundError
from devices import KINDS
from devices.limits import LiveLimits, doubt_limits
from devices.places import doubt_position
from devices.rulebook import Rulebook
from devices.secret import device_secret, secret_hash
from devices.topics import DEVICE_ID

VIRTUAL_KINDS: Final = ("gateway", "feeder", "network", "cell", "hub")
"""Kinds that carry alarms but measure nothing: they have no reading table."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the registry knows it.

    Attributes:
        device_no: Its number in every table, for ever.
        device_id: Its name on the wire.
        kind: A key of :data:`devices.KINDS`, or one of :data:`VIRTUAL_KINDS`.
        name: What staff call it; may be empty.
        component_code: The component (部件) that it watches, 16 digits.
        grid_code: The grid cell (单元网格) it stands in.
        dept_code: Who owns it.
        lon: Where it is installed, WGS-84 degrees.
        lat: See ``lon``.
        gateway: Id of the gateway that carries it.
        feeder: Id of the feeder (回路) that powers it.
        interval_s: How often it reports at rest, in seconds; None: as its kind.
        limits: Its own limits, ``{"level": {"red": 3.2}}``; they replace the kind's.
        state: ``active``, ``maintenance`` or ``retired``.
    """

    device_no: int
    device_id: str
    kind: str
    name: str = ""
    component_code: str | None = None
    grid_code: str | None = None
    dept_code: str | None = None
    lon: float | None = None
    lat: float | None = None
    gateway: str | None = None
    feeder: str | None = None
    interval_s: float | None = None
    limits: Mapping[str, Any] | None = None
    state: str = "active"


_COLUMNS: Final = (
    "device_no, device_id, kind, name, component_code, grid_code, dept_code, lon, lat, gateway,"
    " feeder, interval_s, limits, state"
)
_PLACED: Final = f"""
SELECT {_COLUMNS.replace("grid_code", "coalesce(grid_code, c.cell)")}
  FROM hub.device LEFT JOIN (SELECT component_code, grid_code AS cell FROM hub.component) AS c
 USING (component_code)
"""  # noqa: S608 - ours; a device stands where its component does
SELECT_ALL: Final = f"{_PLACED} ORDER BY device_no"
SELECT_NUMBERED: Final = f"{_PLACED} WHERE device_no = ANY(%s)"
SELECT_ONE: Final = f"{_PLACED} WHERE device_id = %s"
SELECT_SOME: Final = f"""
SELECT {_COLUMNS} FROM hub.device
 WHERE (%(kind)s::text IS NULL OR kind = %(kind)s) AND device_id > %(after)s
 ORDER BY device_id LIMIT %(limit)s
"""  # noqa: S608 - ours
INSERT: Final = f"""
INSERT INTO hub.device (device_id, kind, name, component_code, grid_code, dept_code, lon, lat,
    gateway, feeder, interval_s, limits, secret_hash)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (device_id) DO NOTHING
RETURNING {_COLUMNS}
"""  # noqa: S608 - ours


ROTATE: Final = """
UPDATE hub.device SET secret_no = %(number)s, secret_hash = %(hash)s, version = version + 1
 WHERE device_id = %(device_id)s
"""
SET_STATE: Final = """
UPDATE hub.device SET state = %(state)s, version = version + 1 WHERE device_id = %(device_id)s
"""
NOTE: Final = """
INSERT INTO hub.audit (at, actor, action, object, object_id, detail)
VALUES (%(at)s, %(actor)s, %(action)s, 'device', %(device_id)s, %(detail)s)
"""


class Registry:
    """A snapshot of all devices, in memory.

    ``by_id`` and ``by_no`` are replaced as a whole by each load, so a reader in another thread sees
    the old or the new ones. ``limits`` stays the same object: detectors hold on to it. It says what
    differs from its kind for each device: ladders of its own, and what rules of the city changed.
    """

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self.rules = Rulebook()
        self.by_id: dict[str, Device] = {}
        self.by_no: dict[int, Device] = {}
        self.limits = LiveLimits()
        self.epoch = 0
        self._children: dict[str, frozenset[str]] = {}
        self.replace(devices)

    def load(self, conn: psycopg.Connection[Any]) -> None:
        """Read all devices and rules anew."""
        self.rules.load(conn)
        with conn.cursor(row_factory=tuple_row) as cursor:
            self.replace(Device(*row) for row in cursor.execute(SELECT_ALL))

    def replace(self, devices: Iterable[Device]) -> None:
        """Take these devices for the whole registry, and raise ``epoch``."""
        by_id: dict[str, Device] = {}
        children: dict[str, set[str]] = {}
        for device in devices:
            by_id[device.device_id] = device
            if device.gateway is not None:
                children.setdefault(device.gateway, set()).add(device.device_id)
        self.by_no = {device.device_no: device for device in by_id.values()}
        self.by_id = by_id
        self._children = {gateway: frozenset(ids) for gateway, ids in children.items()}
        self.limits.become(self.rules.differing(self.by_no.values()))
        self.epoch += 1

    def ruled(self, findings: Sequence[Finding]) -> list[Finding]:
        """Return findings with the version of the rule that judged, and its rank.

        A ladder's steps have ranks of their own; elsewhere the rank that a city gave to a rule
        replaces the one that it was shipped with.
        """
        return [self.rules.stamped(each, self.by_no.get(each.device_no)) for each in findings]

    def children(self, gateway_id: str) -> frozenset[str]:
        """Return the ids of the devices that a gateway carries, hence may speak for."""
        return self._children.get(gateway_id, frozenset())


def kind_of(device_id: str) -> str | None:
    """Return the kind that a device id's prefix tells, or None.

    >>> kind_of("MH-0001"), kind_of("sim-MH-0001"), kind_of("MHX1")
    ('manhole_cover', 'manhole_cover', None)
    """
    prefix = device_id.removeprefix("sim-").partition("-")[0]
    return next((kind.name for kind in KINDS.values() if kind.id_prefix == prefix), None)


def register(
    conn: psycopg.Connection[Any],
    device_id: str,
    kind: str,
    *,
    name: str = "",
    component_code: str | None = None,
    grid_code: str | None = None,
    dept_code: str | None = None,
    lon: float | None = None,
    lat: float | None = None,
    gateway: str | None = None,
    feeder: str | None = None,
    interval_s: float | None = None,
    limits: Mapping[str, Any] | None = None,
    site_key: bytes | None = None,
) -> Device:
    """Add a device, in the caller's transaction.

    Args:
        conn: The database.
        device_id: Its id, ``[A-Za-z0-9_-]{1,64}``.
        kind: A key of :data:`devices.KINDS`, or one of :data:`VIRTUAL_KINDS`.
        name: See :class:`Device`, likewise those that follow.
        component_code: As there.
        grid_code: As there.
        dept_code: As there.
        lon: As there.
        lat: As there.
        gateway: As there.
        feeder: As there.
        interval_s: As there.
        limits: As there.
        site_key: With it the device may log in with the secret that follows from it.

    Raises:
        ConflictError: There is a device of this id.
        NotFoundError: The component, the grid cell or the department does not exist.
        ValueError: The id, the kind, the limits or the place cannot be.
    """
    check_identity(device_id, kind)
    doubt = doubt_limits(kind, limits) if limits else None
    if doubt is None and lon is not None and lat is not None:
        doubt = doubt_position(lon, lat)
    if doubt is not None:
        raise ValueError(doubt.en)
    hashed = secret_hash(device_secret(site_key, device_id)) if site_key else None
    place = (component_code, grid_code, dept_code, lon, lat, gateway, feeder, interval_s)
    values = (device_id, kind, name, *place, json.dumps(dict(limits or {})), hashed)
    try:
        with conn.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(INSERT, values).fetchone()
    except psycopg.errors.ForeignKeyViolation as error:
        raise NotFoundError(error.diag.message_detail or str(error)) from error
    if row is None:
        raise ConflictError(f"there is already a device {device_id}")
    return Device(*row)


def enrol(
    conn: psycopg.Connection[Any], device_id: str, *, site_key: bytes | None = None
) -> Device | None:
    """Register a device at first sight, by the prefix of its id: policy ``open``, for pilots.

    Two workers may see it first: the one that comes second finds it.

    Returns:
        The device, or None where the id tells no kind.
    """
    kind = kind_of(device_id)
    if kind is None or not DEVICE_ID.fullmatch(device_id):
        return None
    try:
        return register(conn, device_id, kind, site_key=site_key)
    except ConflictError:
        return find(conn, device_id)


def find(conn: psycopg.Connection[Any], device_id: str) -> Device:
    """Return one device.

    Raises:
        NotFoundError: There is none of this id.
    """
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(SELECT_ONE, [device_id]).fetchone()
    if row is None:
        raise _unknown(device_id)
    return Device(*row)


def find_secret(conn: psycopg.Connection[Any], device_id: str, *, site_key: bytes) -> str:
    """Return the secret that a device logs in with now.

    Raises:
        NotFoundError: There is no such device.
    """
    return device_secret(site_key, device_id, _secret_no(conn, device_id))


def rotate_secret(
    conn: psycopg.Connection[Any], device_id: str, *, site_key: bytes, at: datetime, actor: str
) -> str:
    """Give a device its next secret, in the caller's transaction; the one before is worthless.

    Args:
        conn: The database.
        device_id: Whose.
        site_key: What secrets follow from.
        at: When, for the audit.
        actor: Who wants it, for the audit.

    Returns:
        The new secret.

    Raises:
        NotFoundError: There is no such device.
    """
    number = _secret_no(conn, device_id, lock=True) + 1
    secret = device_secret(site_key, device_id, number)
    conn.execute(ROTATE, {"number": number, "hash": secret_hash(secret), "device_id": device_id})
    _note(conn, device_id, at=at, actor=actor, action="rotate", detail={"secret_no": number})
    return secret


def retire(
    conn: psycopg.Connection[Any], device_id: str, *, at: datetime, actor: str, undo: bool = False
) -> None:
    """Retire a device, in the caller's transaction: it may no longer log in, its rows stay.

    Args:
        conn: The database.
        device_id: Which.
        at: When, for the audit.
        actor: Who wants it, for the audit.
        undo: Take a retired one back into service instead.

    Raises:
        ConflictError: It is retired already, or, for ``undo``, it is not.
        NotFoundError: There is no such device.
    """
    _secret_no(conn, device_id, lock=True)
    before = find(conn, device_id).state
    if (before == "retired") is not undo:
        raise ConflictError(f"{device_id} is {'not' if undo else 'already'} retired")
    conn.execute(SET_STATE, {"state": "active" if undo else "retired", "device_id": device_id})
    action = "reinstate" if undo else "retire"
    _note(conn, device_id, at=at, actor=actor, action=action, detail={"before": before})


def _secret_no(conn: psycopg.Connection[Any], device_id: str, *, lock: bool = False) -> int:
    query = "SELECT secret_no FROM hub.device WHERE device_id = %s"
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(f"{query} FOR UPDATE" if lock else query, [device_id]).fetchone()
    if row is None:
        raise _unknown(device_id)
    return int(row[0])


def _note(
    conn: psycopg.Connection[Any],
    device_id: str,
    *,
    at: datetime,
    actor: str,
    action: str,
    detail: Mapping[str, Any],
) -> None:
    facts = {"at": at, "actor": actor, "action": action, "device_id": device_id}
    conn.execute(NOTE, {**facts, "detail": json.dumps(detail)})


def _unknown(device_id: str) -> NotFoundError:
    return NotFoundError(f"there is no device {device_id!r}; 'cityhub device list' shows them")


def list_devices(
    conn: psycopg.Connection[Any], *, kind: str | None = None, after: str = "", limit: int = 1000
) -> list[Device]:
    """Return devices by id, at most ``limit``, beginning behind the id ``after``."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(SELECT_SOME, {"kind": kind, "after": after, "limit": limit})
        return [Device(*row) for row in rows]


def check_identity(device_id: str, kind: str) -> None:
    """Check an id and a kind.

    Raises:
        ValueError: A sentence on what is wrong.
    """
    if not DEVICE_ID.fullmatch(device_id):
        raise ValueError(
            f"{device_id!r} is no device id: 1 to 64 of the characters A-Z a-z 0-9 _ -"
        )
    if kind not in KINDS and kind not in VIRTUAL_KINDS:
        raise ValueError(
            f"there is no kind {kind!r}; there are {', '.join([*KINDS, *VIRTUAL_KINDS])}"
        )
