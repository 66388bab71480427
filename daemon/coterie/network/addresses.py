"""Multiaddrs: which may be listened on, which may be dialled, and what a wildcard comes to on this machine."""

import errno
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Final

import psutil
from multiaddr.multiaddr import Multiaddr as Multiaddr  # pyright: ignore[reportMissingTypeStubs]

from coterie_protocols.errors import UserError
from coterie_protocols.identity import PeerId

_HOSTS: Final = frozenset({"ip4", "ip6", "dns", "dns4", "dns6"})
_WILDCARDS: Final = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}
ADDRESS_CHARACTERS_MAX: Final = 300


def parts_of(text: str) -> list[str]:
    """`/a/b/c` as [a, b, c]; an empty list if it does not begin with a slash."""
    return text.split("/")[1:] if text.startswith("/") else []


def dialable_untrusted(text: str, peer: PeerId) -> Multiaddr | None:
    """The TCP address that `text` spells, without its `/p2p/<id>`; None if we could not reach `peer` there."""
    parts = parts_of(text) if len(text) <= ADDRESS_CHARACTERS_MAX else []
    if len(parts) == 6 and parts[4] == "p2p" and parts[5] == peer:
        parts = parts[:4]
    if len(parts) != 4 or parts[0] not in _HOSTS or parts[2] != "tcp" or parts[1] in _WILDCARDS or parts[3] == "0":
        return None
    try:
        return Multiaddr("/" + "/".join(parts))
    except ValueError:  # what multiaddr raises for every text that it cannot parse
        return None


def listenable(texts: Iterable[str]) -> list[Multiaddr]:
    """The addresses to listen on. Raises UserError for one that is not `/ip4|ip6/<address>/tcp/<port>`."""
    return [_listenable(text) for text in texts]


def _listenable(text: str) -> Multiaddr:
    parts = parts_of(text)
    try:
        if len(parts) == 4 and parts[0] in {"ip4", "ip6"} and parts[2] == "tcp":
            return Multiaddr(text)
    except ValueError:
        pass
    raise UserError(f"Cannot listen on {text!r}.", "An address looks like /ip4/0.0.0.0/tcp/7411.")


def require_free(address: Multiaddr) -> None:
    """Returns if we may bind there. Raises UserError.

    py-libp2p itself logs a failed bind and goes on, and its SO_REUSEPORT lets a second daemon take half of the
    first one's connections; a socket without that option is refused while anybody listens.
    """
    _, host, _, port = parts_of(str(address))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise UserError(f"Cannot listen on {address}: {error.strerror}.", _bind_hint(error)) from error


def _bind_hint(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "Another program (or another coterie daemon) has the port: stop it, or choose another in `listen`."
        case errno.EADDRNOTAVAIL:
            return "No interface of this machine has that address; /ip4/0.0.0.0/tcp/7411 listens on all of them."
        case errno.EACCES:
            return "Ports under 1024 need privileges: choose a higher one in `listen`."
        case _:
            return "Choose another address in `listen`."


def expand_wildcards(addresses: Iterable[Multiaddr]) -> list[Multiaddr]:
    """0.0.0.0 and :: replaced by the addresses of this machine: loopback only if there is nothing else."""
    expanded = (each for address in addresses for each in _expanded(str(address)))
    return [Multiaddr(text) for text in dict.fromkeys(expanded)]


def _expanded(text: str) -> Sequence[str]:
    protocol, host, *rest = parts_of(text)
    if host not in _WILDCARDS:
        return (text,)
    return ["/".join(("", protocol, local, *rest)) for local in _local_addresses(_WILDCARDS[host])]


def _local_addresses(family: socket.AddressFamily) -> list[str]:
    found = [each.address for links in psutil.net_if_addrs().values() for each in links if each.family == family]
    routable = [address for address in found if "%" not in address]  # with a zone: valid on one link only
    return [address for address in routable if not ip_address(address).is_loopback] or routable
