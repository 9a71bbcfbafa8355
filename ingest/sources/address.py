"""Where a broker is: its URL taken apart."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    """A broker's place and login.

    Attributes:
        host: Name or address.
        port: TCP port.
        username: The login, or None.
        password: Its password, or None.
        tls: For an encrypted connection, else None.
    """

    host: str
    port: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(
    url: str, *, plain: tuple[str, int], encrypted: tuple[str, int], ca_file: Path | None = None
) -> Address:
    """Take a broker's URL apart.

    Args:
        url: ``scheme://user:password@host:port``; user and password percent-encoded.
        plain: Scheme and default port of an unencrypted connection.
        encrypted: Scheme and default port of TLS.
        ca_file: The CA certificate; None: the system's.

    Raises:
        ConfigError: It is no such URL, or the certificate cannot be read.
    """
    ports = dict([plain, encrypted])
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError("broker.url: the port is no number from 0 to 65535") from error
    if parts.scheme not in ports or not parts.hostname:
        raise ConfigError(
            f"broker.url must look like {plain[0]}://user:password@host:port or {encrypted[0]}://…"
        )
    tls = None
    if parts.scheme == encrypted[0]:
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"broker.ca_file {ca_file}: {error}") from error
    return Address(
        host=parts.hostname,
        port=port or ports[parts.scheme],
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
    )
