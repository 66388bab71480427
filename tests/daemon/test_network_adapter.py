"""The adapter between real hosts on loopback."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
import trio

from contracts.libp2p_station import SETTINGS, connect, key_of, libp2p_station, until_connected
from contracts.network_contract import DEADLINE_S, NetworkContract, Pair, Station, eventually, fetch_all, refuse
from coterie.network.adapter import Libp2pNetwork, open_network
from coterie.ports import Network, Unreachable
from coterie_protocols.errors import UserError
from coterie_protocols.stimuli import GossipReceived, PeerConnected, PeerDisconnected, Stimulus

pytestmark = pytest.mark.libp2p


@pytest.fixture
async def pair() -> AsyncGenerator[Pair]:
    """Two connected stations."""
    async with libp2p_station(1) as left, libp2p_station(2) as right:
        await connect(left, right)
        yield Pair(left, right)


class TestContract(NetworkContract):
    """The adapter keeps the contract of the port."""


def test_the_adapter_is_a_network() -> None:
    def needs(network: Network) -> Network:
        return network

    assert needs(Libp2pNetwork.__new__(Libp2pNetwork))


async def test_an_announcement_reaches_all_members_once() -> None:
    async with libp2p_station(1) as a, libp2p_station(2) as b, libp2p_station(3) as c:
        b.network.remember(a.peer, a.network.addresses())
        c.network.remember(b.peer, b.network.addresses())
        await until_connected(b, a, c)
        a.network.broadcast(b"first")
        await c.until(lambda: bool(c.of(GossipReceived)))
        c.network.broadcast(b"second")
        await a.until(lambda: bool(a.of(GossipReceived)))
        assert c.of(GossipReceived) == [GossipReceived(a.peer, b"first")]
        assert a.of(GossipReceived) == [GossipReceived(c.peer, b"second")]
        assert b.of(GossipReceived) == [GossipReceived(a.peer, b"first"), GossipReceived(c.peer, b"second")]


async def test_a_stranger_hears_and_spreads_no_announcement_until_it_is_a_member() -> None:
    async with libp2p_station(1) as member, libp2p_station(2) as newcomer:
        member.strangers.add(newcomer.peer)
        newcomer.network.remember(member.peer, member.network.addresses())
        await until_connected(newcomer, member)
        with trio.fail_after(DEADLINE_S):
            while not member.libp2p.counters().dropped.get("announcement by a stranger"):
                newcomer.network.broadcast(b"let me in")
                await trio.sleep(0.05)
        member.network.broadcast(b"for members")
        member.strangers.clear()
        member.network.broadcast(b"welcome")
        await newcomer.until(lambda: GossipReceived(member.peer, b"welcome") in newcomer.stimuli)
        newcomer.network.broadcast(b"thanks")
        await member.until(lambda: bool(member.of(GossipReceived)))
        assert member.of(GossipReceived) == [GossipReceived(newcomer.peer, b"thanks")]


async def test_one_author_may_not_say_everything() -> None:
    settings = replace(SETTINGS, announcements_per_s_max=2.0, gossip_queued_max=50)
    async with libp2p_station(1) as loud, libp2p_station(2, settings) as patient:
        await connect(loud, patient)
        loud.network.broadcast(b"to open the way")
        await patient.until(lambda: bool(patient.of(GossipReceived)))
        for n in range(50):
            loud.network.broadcast(bytes([n]))
        await eventually(lambda: patient.libp2p.counters().dropped.get("too many announcements", 0) >= 40)
        assert len(patient.of(GossipReceived)) < 10


async def test_the_oldest_announcement_makes_room() -> None:
    async with libp2p_station(1, replace(SETTINGS, gossip_queued_max=3)) as station:
        for n in range(5):
            station.network.broadcast(bytes([n]))
        assert station.libp2p.counters().dropped == {"announcement queue full": 2}


async def test_a_peer_that_restarts_on_its_port_is_found_again() -> None:
    async with libp2p_station(1) as stayer:
        async with libp2p_station(2) as first:
            await connect(stayer, first)
            port = first.libp2p.ports()[0]
        await stayer.until(lambda: bool(stayer.of(PeerDisconnected)))
        async with libp2p_station(2, replace(SETTINGS, listen=(f"/ip4/127.0.0.1/tcp/{port}",))) as second:
            await stayer.until(lambda: len(stayer.of(PeerConnected)) == 2)
            assert stayer.network.post(second.peer, b"welcome back")
            await second.until(lambda: second.frames() == [b"welcome back"])
        await stayer.until(lambda: len(stayer.of(PeerDisconnected)) == 2)
        assert [type(each) for each in stayer.stimuli] == [PeerConnected, PeerDisconnected] * 2


async def test_new_addresses_are_tried_at_once() -> None:
    slow = replace(SETTINGS, redial_base_s=60.0, redial_cap_s=60.0)
    async with libp2p_station(1, slow) as here, libp2p_station(2) as there:
        here.network.remember(there.peer, ["/ip4/127.0.0.1/tcp/1"])
        await eventually(lambda: here.libp2p.counters().dial_failures > 0)
        here.network.remember(there.peer, there.network.addresses())
        await until_connected(here, there)


async def test_the_first_address_that_answers_wins() -> None:
    silent = await trio.open_tcp_listeners(0, host="127.0.0.1")  # accepts, and never says a word
    with silent[0].socket:
        port = silent[0].socket.getsockname()[1]
        async with libp2p_station(1) as here, libp2p_station(2) as there:
            suffixed = [f"{address}/p2p/{there.peer}" for address in there.network.addresses()]
            began = trio.current_time()
            here.network.remember(there.peer, ["/ip4/127.0.0.1/tcp/1", f"/ip4/127.0.0.1/tcp/{port}", *suffixed])
            await until_connected(here, there)
            assert trio.current_time() - began < SETTINGS.dial_timeout_s


async def test_two_that_dial_each_other_meet_once() -> None:
    async with libp2p_station(1) as left, libp2p_station(2) as right:
        await connect(left, right)
        left.network.post(right.peer, b"hello")
        await right.until(lambda: right.frames() == [b"hello"])
        assert len(left.of(PeerConnected)) == len(right.of(PeerConnected)) == 1


async def test_a_dropped_peer_is_refused_for_a_while() -> None:
    async with libp2p_station(1, replace(SETTINGS, penalty_s=0.5)) as strict, libp2p_station(2) as other:
        other.network.remember(strict.peer, strict.network.addresses())
        await until_connected(strict, other)
        strict.network.drop(other.peer, "a test")
        await strict.until(lambda: len(strict.of(PeerConnected)) == 2)
        assert strict.libp2p.counters().dropped["refused peer"] >= 1


async def test_a_stranger_may_say_a_few_things() -> None:
    settings = replace(SETTINGS, stranger_frames_max=3)
    async with libp2p_station(1, settings) as member, libp2p_station(2) as stranger:
        member.strangers.add(stranger.peer)
        stranger.network.remember(member.peer, member.network.addresses())
        await until_connected(stranger, member)
        for n in range(10):
            stranger.network.post(member.peer, bytes([n]))
        await member.until(lambda: bool(member.of(PeerDisconnected)))
        assert member.frames() == [b"\x00", b"\x01", b"\x02"]


async def test_a_stranger_may_not_stay() -> None:
    async with libp2p_station(1, replace(SETTINGS, stranger_s_max=0.3)) as member, libp2p_station(2) as stranger:
        member.strangers.add(stranger.peer)
        stranger.network.remember(member.peer, member.network.addresses())
        await member.until(lambda: bool(member.of(PeerDisconnected)))
        assert member.libp2p.counters().dropped["stranger stayed"] == 1


async def test_one_that_we_were_told_to_know_is_no_stranger() -> None:
    settings = replace(SETTINGS, stranger_frames_max=3, stranger_s_max=0.3)
    async with libp2p_station(1, settings) as newcomer, libp2p_station(2) as inviter:
        newcomer.strangers.add(inviter.peer)
        newcomer.network.remember(inviter.peer, inviter.network.addresses())
        await until_connected(inviter, newcomer)
        for n in range(10):
            inviter.network.post(newcomer.peer, bytes([n]))
        await newcomer.until(lambda: len(newcomer.frames()) == 10)
        await trio.sleep(2 * settings.stranger_s_max)
        assert newcomer.network.connected() == {inviter.peer}


async def test_a_quiet_answer_is_not_given_up() -> None:
    asked, settings = trio.Event(), replace(SETTINGS, fetch_idle_timeout_s=0.4, keepalive_s=0.05)

    async def late(_: bytes) -> AsyncGenerator[bytes]:
        asked.set()
        await trio.sleep(3 * settings.fetch_idle_timeout_s)
        yield b"at last"

    async with libp2p_station(1, settings) as client, libp2p_station(2, settings) as server:
        server.answers = late
        await connect(client, server)
        assert await fetch_all(client.network, server.peer, b"log") == b"at last"


async def test_a_server_that_vanishes_gives_no_complete_answer() -> None:
    async def endless(_: bytes) -> AsyncGenerator[bytes]:
        yield b"the beginning"
        await trio.sleep_forever()

    async with libp2p_station(1) as client:
        async with libp2p_station(2) as server:
            server.answers = endless
            await connect(client, server)
            with trio.fail_after(DEADLINE_S):
                async with client.network.fetch(server.peer, b"log") as chunks:
                    assert await anext(chunks) == b"the beginning"
                    server.network.drop(client.peer, "a test")
                    with pytest.raises(Unreachable):
                        await anext(chunks)


async def test_only_so_many_fetches_at_once() -> None:
    release = trio.Event()

    async def waiting(_: bytes) -> AsyncGenerator[bytes]:
        yield b"begun"
        await release.wait()

    async with libp2p_station(1) as client, libp2p_station(2, replace(SETTINGS, fetches_per_peer_max=1)) as server:
        server.answers = waiting
        await connect(client, server)
        async with client.network.fetch(server.peer, b"first") as chunks:
            assert await anext(chunks) == b"begun"
            with pytest.raises(Unreachable, match="too many"):
                await fetch_all(client.network, server.peer, b"second")
            release.set()
            assert [chunk async for chunk in chunks] == []
        assert await fetch_all(client.network, server.peer, b"third") == b"begun"


async def test_a_taken_port_is_the_users_to_solve() -> None:
    async with libp2p_station(1) as first:
        with pytest.raises(UserError, match="Cannot listen") as caught:
            async with libp2p_station(2, replace(SETTINGS, listen=first.network.addresses())):
                pytest.fail("two daemons on one port")
        assert "another" in caught.value.hint


async def test_addresses_are_real_and_announced_ones_replace_them() -> None:
    async with libp2p_station(1) as plain:
        assert plain.network.addresses() == (f"/ip4/127.0.0.1/tcp/{plain.libp2p.ports()[0]}",)
        assert plain.libp2p.ports()[0] != 0
    async with libp2p_station(1, replace(SETTINGS, announce=("/dns4/localhost/tcp/7411",))) as announced:
        assert announced.network.addresses() == ("/dns4/localhost/tcp/7411",)


async def test_a_bug_in_what_is_called_ends_the_network_loudly() -> None:
    class Bug(Exception):
        pass

    async def broken(stimulus: Stimulus) -> None:
        if not isinstance(stimulus, PeerConnected):
            raise Bug

    async with libp2p_station(2) as other:
        station = Station()

        async def run() -> None:
            async with open_network(key_of(1), SETTINGS, broken, station.serve, station.is_member) as network:
                other.network.remember(network.peer_id, network.addresses())
                await other.until(lambda: bool(other.of(PeerConnected)))
                other.network.post(network.peer_id, b"boom")
                await trio.sleep_forever()

        with trio.fail_after(DEADLINE_S), pytest.raises(Bug):
            await run()


async def test_an_error_of_the_user_goes_through_as_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        async with libp2p_station(1):
            raise ZeroDivisionError


async def test_cancellation_is_prompt() -> None:
    async with libp2p_station(1) as stayer:
        began = float("inf")
        with trio.move_on_after(DEADLINE_S) as scope:
            async with libp2p_station(2) as leaver:
                await connect(stayer, leaver)
                began = trio.current_time()
                scope.cancel()
                await trio.sleep_forever()
        assert trio.current_time() - began < 1.0
        await stayer.until(lambda: bool(stayer.of(PeerDisconnected)))


async def test_leaving_sends_what_is_queued_and_leaves_no_task() -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with libp2p_station(1) as stayer:
        async with libp2p_station(2) as leaver:
            await connect(stayer, leaver)
            leaver.answers = refuse
            for n in range(50):
                leaver.network.post(stayer.peer, bytes([n]))
            began = trio.current_time()
        assert trio.current_time() - began < SETTINGS.close_timeout_s
        await stayer.until(lambda: len(stayer.frames()) == 50)
        await stayer.until(lambda: bool(stayer.of(PeerDisconnected)))
    await eventually(lambda: trio.lowlevel.current_statistics().tasks_living <= before)
