"""Which addresses the hub connects to: looked up once, checked, and those very ones connected to.

Guards against server-side request forgery: who may write a receiver's URL may not thereby reach
the hub's own machine or network. A name is resolved by us, every address it has must be allowed,
and the connection goes to the address that was checked, so a name that changes its answer in
between changes nothing. TLS still checks the certificate against the name.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import httpx

from core.errors import DispatchFailedError, DispatchRefusedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and a port to addresses."""

_NEVER: Final = tuple(
    ipaddress.ip_network(each)
    for each in ("0.0.0.0/8", "169.254.0.0/16", "100.100.100.200/32", "::/128", "fe80::/10",
                 "fd00:ec2::254/128")
)  # fmt: skip
"""Link-local and the metadata services of clouds: no list of allowed networks opens these."""

EVERYWHERE: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
"""For the URL of the settings: whoever writes them owns this machine anyway."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_SCHEMES: Final = {"http": 80, "https": 443}


def is_allowed(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Return whether the hub may connect to an address: a public one, or of an allowed network.

    >>> is_allowed(ipaddress.ip_address("8.8.8.8"))
    True
    >>> is_allowed(ipaddress.ip_address("::ffff:127.0.0.1"))
    False
    >>> is_allowed(ipaddress.ip_address("10.1.2.3"), [ipaddress.ip_network("10.0.0.0/8")])
    True
    >>> is_allowed(ipaddress.ip_address("169.254.169.254"), [ipaddress.ip_network("0.0.0.0/0")])
    False
    """
    address = _inner(address)
    if address.is_multicast or any(address in each for each in _NEVER):
        return False
    return address.is_global or any(address in each for each in allowed)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, as the system knows them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Pinned(httpx.AsyncHTTPTransport):
    """Connects to checked addresses only.

    Args:
        allowed: Networks beside the public ones.
        resolve: Looks names up.
    """

    def __init__(self, allowed: Sequence[Network], *, resolve: Resolve = resolve) -> None:
        super().__init__(trust_env=False)
        self._allowed = allowed
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to an address of its host that was checked just now.

        Raises:
            DispatchRefusedError: It may not be connected to.
            DispatchFailedError: It has no address now.
        """
        url = request.url
        port = url.port or _SCHEMES.get(url.scheme)
        if port is None:
            raise DispatchRefusedError(f"{url.scheme}: only http and https are connected to")
        address = await self.check(url.host, port)
        if url.scheme == "https":
            request.extensions = {**request.extensions, "sni_hostname": url.host}
        request.headers.setdefault("host", url.netloc.decode("ascii"))
        request.url = url.copy_with(host=address)
        return await super().handle_async_request(request)

    async def check(self, host: str, port: int) -> str:
        """Return an address of a host, all of whose addresses are allowed."""
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise DispatchFailedError(f"{host} has no address: {error}") from error
        if not found:
            raise DispatchFailedError(f"{host} has no address")
        for each in found:
            if not is_allowed(ipaddress.ip_address(each.partition("%")[0]), self._allowed):
                raise DispatchRefusedError(
                    f"{host} is {each}, which is not public: name its network in dispatch.networks"
                )
        return found[0]


def _inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
