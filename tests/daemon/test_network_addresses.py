"""Which addresses can be dialled and listened on."""

import socket

import pytest

from coterie.network.addresses import Multiaddr, dialable_untrusted, expand_wildcards, listenable, require_free
from coterie_protocols.errors import UserError
from coterie_protocols.identity import SigningKey

PEER = SigningKey(bytes(31) + b"\x01").peer_id
OTHER = SigningKey(bytes(31) + b"\x02").peer_id


@pytest.mark.parametrize(
    "text",
    ["/ip4/127.0.0.1/tcp/7411", "/ip6/::1/tcp/7411", "/dns4/example.org/tcp/1", "/dns/example.org/tcp/65535"],
)
def test_tcp_addresses_can_be_dialled_with_or_without_the_peer(text: str) -> None:
    assert str(dialable_untrusted(text, PEER)) == text
    assert str(dialable_untrusted(f"{text}/p2p/{PEER}", PEER)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "127.0.0.1:7411",
        "/ip4/0.0.0.0/tcp/7411",
        "/ip6/::/tcp/7411",
        "/ip4/127.0.0.1/tcp/0",
        "/ip4/127.0.0.1/tcp/65536",
        "/ip4/127.0.0.1/tcp/-1",
        "/ip4/256.0.0.1/tcp/1",
        "/ip4/127.0.0.1/udp/7411/quic-v1",
        "/ip4/127.0.0.1/tcp/7411/ws",
        f"/ip4/127.0.0.1/tcp/7411/p2p/{OTHER}",
        f"/ip4/127.0.0.1/tcp/7411/p2p/{OTHER}/p2p-circuit/p2p/{PEER}",
        "/unix/etc/tcp/passwd",
        "/dns4/" + "a" * 1000 + "/tcp/1",
        "/ip4/\x00/tcp/1",
    ],
)
def test_all_else_is_passed_over(text: str) -> None:
    assert dialable_untrusted(text, PEER) is None


@pytest.mark.parametrize("text", ["", "7411", "/ip4/127.0.0.1", "/dns4/localhost/tcp/1", "/ip4/1.2.3/tcp/1"])
def test_what_cannot_be_listened_on_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match="Cannot listen") as caught:
        listenable([text])
    assert "/ip4/0.0.0.0/tcp/7411" in caught.value.hint


def test_a_listening_socket_takes_its_port_even_when_it_would_share() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Multiaddr(f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}")
        with pytest.raises(UserError, match="in use"):
            require_free(address)
    require_free(address)


def test_an_address_of_another_machine_is_named_as_such() -> None:
    with pytest.raises(UserError) as caught:
        require_free(Multiaddr("/ip4/192.0.2.1/tcp/7411"))
    assert "No interface" in caught.value.hint


def test_wildcards_come_to_addresses_of_this_machine() -> None:
    expanded = [str(each) for each in expand_wildcards([Multiaddr("/ip4/0.0.0.0/tcp/7411")])]
    assert expanded
    assert all(each.startswith("/ip4/") and each.endswith("/tcp/7411") and "0.0.0.0" not in each for each in expanded)
    assert expand_wildcards([Multiaddr("/ip4/127.0.0.1/tcp/1")]) == [Multiaddr("/ip4/127.0.0.1/tcp/1")]
