"""The types of the settings: what a value must look like, and the error when it does not."""

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Final, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from coterie.engine.quantities import size_bytes
from coterie.locations import SOCKET_PATH_BYTES_MAX

ITEMS_MAX: Final = 16
NAME_CHARS_MAX: Final = 64
_ADDRESS = re.compile(r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]+)/tcp/(?P<port>\d{1,5})")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:-]{0,63}")


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not yes or no")
    return value


def _split(value: object) -> object:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _socket_path(path: Path) -> Path:
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_BYTES_MAX:
        raise ValueError(f"{path} has {length} bytes; a Unix socket's path has at most {SOCKET_PATH_BYTES_MAX}")
    return path


def _address(text: str) -> str:
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is no TCP multiaddr; write it like /ip4/192.0.2.7/tcp/7411")
    if found["kind"] == "ip4":
        IPv4Address(found["host"])
    if found["kind"] == "ip6":
        IPv6Address(found["host"])
    if int(found["port"]) > 65535:
        raise ValueError(f"`{text}`: there is no port {found['port']}")
    return text


def _listen_address(text: str) -> str:
    if _address(text).startswith("/dns"):
        raise ValueError(f"`{text}`: one can listen on addresses of this machine only, not on names")
    return text


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError(f"`{text}` is no label: letters, digits and . _ + : - and at most 64 of them")
    return text.lower()


def _amounts(value: object) -> object:
    """`cpu=4, memory=8GiB`, or the same as a mapping."""
    if isinstance(value, str):
        pairs = [item.partition("=") for item in value.split(",") if item.strip()]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError("must be written like cpu=4,memory=8GiB")
        value = {name.strip(): amount.strip() for name, _, amount in pairs}
    if not isinstance(value, Mapping):
        return value
    return {str(name): _amount(amount) for name, amount in cast("Mapping[object, object]", value).items()}


def _amount(value: object) -> object:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return float(size_bytes(value))
    return _no_bool(value)


def _http_address(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise ValueError(f"`{text}` is no address of a collector; write it like http://127.0.0.1:4318")
    return text.rstrip("/")


def once(items: tuple[str, ...]) -> tuple[str, ...]:
    """The items without repetitions, in their order."""
    return tuple(dict.fromkeys(items))


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
SocketPath = Annotated[Path, AfterValidator(_absolute), AfterValidator(_socket_path)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
Whole = Annotated[int, BeforeValidator(_no_bool)]
Seconds = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Days = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Labels = Annotated[
    tuple[Annotated[str, AfterValidator(_label)], ...],
    NoDecode,
    BeforeValidator(_split),
    Field(max_length=ITEMS_MAX),
    AfterValidator(once),
]
Announced = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...],
    NoDecode,
    BeforeValidator(_split),
    Field(max_length=ITEMS_MAX),
    AfterValidator(once),
]
Listened = Annotated[
    tuple[Annotated[str, AfterValidator(_listen_address)], ...],
    NoDecode,
    BeforeValidator(_split),
    Field(min_length=1, max_length=ITEMS_MAX),
    AfterValidator(once),
]
Amounts = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)],
        Annotated[float, Field(ge=0, allow_inf_nan=False)],
    ],
    NoDecode,
    BeforeValidator(_amounts),
    Field(max_length=ITEMS_MAX),
]
HttpAddress = Annotated[str, AfterValidator(_http_address)]
