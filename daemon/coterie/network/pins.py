"""The private names of py-libp2p that this adapter replaces or reads. A new version is a change of code."""

from importlib.metadata import version
from typing import Final

from libp2p.host.basic_host import BasicHost
from libp2p.network.swarm import Swarm
from libp2p.pubsub import gossipsub, pubsub, rpc_queue
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.stream_muxer.yamux import yamux

PINNED_VERSION: Final = "0.8.1"

_NAMES: Final[tuple[tuple[object, tuple[str, ...]], ...]] = (
    (BasicHost, ("_swarm_stream_handler", "get_transport_addrs", "set_stream_handler")),
    (Swarm, ("_do_handle_inbound_connection", "upgrade_inbound_raw_conn", "add_conn", "set_stream_handler")),
    (Pubsub, ("push_msg", "write_msg", "publish", "subscribe", "set_topic_validator")),
    (GossipSub, ("handle_rpc", "_get_peers_to_send", "flush_pending_messages", "on_peer_subscribed")),
    (yamux.Yamux, ("_write_frame",)),
    (
        yamux.YamuxStream,
        ("_auto_tune_and_send_window_update", "_apply_autotune_epoch", "send_window_update"),
    ),
    (yamux, ("MAX_WINDOW_SIZE", "DEFAULT_WINDOW_SIZE")),
    (pubsub, ("SUBSCRIPTION_CHANNEL_SIZE", "maybe_consume_signed_record", "env_to_send_in_RPC")),
    (gossipsub, ("env_to_send_in_RPC",)),
    (rpc_queue.RpcQueue, ("__init__",)),
)


def require_pinned_library() -> None:
    """Returns if the installed py-libp2p is the one that this adapter is written for. Raises RuntimeError."""
    installed = version("libp2p")
    if installed != PINNED_VERSION:
        raise RuntimeError(f"libp2p {installed} is installed, this adapter is written for {PINNED_VERSION}")
    for owner, names in _NAMES:
        for name in names:
            if not hasattr(owner, name):
                raise RuntimeError(f"libp2p {installed}: {owner!r} has no {name}; it is not the published package")
