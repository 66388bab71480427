"""The floor of the idle bench: py-libp2p with gossipsub, joined to one topic, and nothing of Coterie behind it.

    python tests/bench/idle_host.py [ADDRESS]...

Connects to the addresses, prints its own as a line, and idles until its standard input ends.
"""

import sys
from typing import Any, cast

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.peerinfo import info_from_p2p_addr  # pyright: ignore[reportMissingTypeStubs]
from libp2p.pubsub.gossipsub import PROTOCOL_ID, GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service

from coterie.network.addresses import Multiaddr

TOPIC = "idle"
HEARTBEAT_S = 1


async def idle(addresses: list[str]) -> None:
    """Runs one host until standard input ends."""
    host = cast(Any, new_host)(key_pair=create_new_key_pair())
    router = GossipSub(
        protocols=cast(Any, [PROTOCOL_ID]),
        degree=6,
        degree_low=4,
        degree_high=12,
        heartbeat_interval=HEARTBEAT_S,
        adaptive_gossip_enabled=False,
    )
    pubsub = Pubsub(host, router)
    async with host.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        async with background_trio_service(cast(Any, pubsub)), background_trio_service(cast(Any, router)):
            await pubsub.wait_until_ready()
            await pubsub.subscribe(TOPIC)
            for address in addresses:
                await host.connect(info_from_p2p_addr(Multiaddr(address)))
            print(host.get_addrs()[0], flush=True)
            await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    trio.run(idle, sys.argv[1:])
