"""Announcements: one gossipsub 1.1 topic, signed by their authors, between members alone.

Membership is asked at each message and not at each stream: a newcomer's stream and its subscription stand already
when its `join` is accepted, and everything flows from that moment on.

What is repaired, and what happens without it:
- one message with a malformed key, or a malformed stream, ends the process
- by default a heartbeat comes every 120 s (adaptive: 30 s), and more than 10 messages a second or 32 queued are lost
- after a restart sequence numbers begin at the wall clock's second, so that others take new messages for old ones
"""

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

import trio
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID  # pyright: ignore[reportMissingTypeStubs]
from libp2p.peer.peerstore import env_to_send_in_RPC  # pyright: ignore[reportMissingTypeStubs]
from libp2p.pubsub import gossipsub as gossipsub_module
from libp2p.pubsub import pubsub as pubsub_module
from libp2p.pubsub import rpc_queue
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub

from coterie.network.counters import Tally
from coterie.network.rates import Rates
from coterie.network.settings import NetworkSettings
from coterie.ports import Deliver
from coterie_protocols.encoding import Cid
from coterie_protocols.identity import PeerId
from coterie_protocols.stimuli import GossipReceived

if TYPE_CHECKING:
    from libp2p.abc import IHost, INetStream, ISubscriptionAPI
    from libp2p.pubsub.pb.rpc_pb2 import RPC, Message

log = logging.getLogger(__name__)

SUBSCRIPTION_QUEUED_MAX: Final = 4096
PEER_QUEUED_MAX: Final = 256
FLOODED_MAX: Final = 24
RPC_BYTES_MAX: Final = 256 * 1024
_PROTOCOLS: Final = ("/meshsub/1.1.0", "/meshsub/1.0.0")
_TOPIC_DOMAIN: Final = b"coterie/topic/1\n"


def topic_of(coterie: Cid) -> str:
    """The topic of a coterie: a hash, so that the name tells a stranger nothing."""
    return hashlib.sha256(_TOPIC_DOMAIN + coterie.encode()).hexdigest()


class Gossip:
    """The topic of one coterie: `broadcast` queues, `publish_all` and `receive_all` are its two tasks."""

    def __init__(
        self,
        settings: NetworkSettings,
        host: BasicHost,
        is_member: Callable[[PeerId], bool],
        tally: Tally,
    ) -> None:
        self._settings = settings
        self._is_member = is_member
        self._tally = tally
        self._topic = topic_of(settings.coterie)
        self._own = PeerId(host.get_id().to_base58())
        self._authors = Rates(settings.announcements_per_s_max)
        self._neighbours = Rates(settings.forwarded_per_s_max)
        self._queue: deque[bytes] = deque()
        self._queued = trio.Event()
        self.idle = trio.Event()
        self.idle.set()
        self.router = _make_router()
        self.pubsub = _make_pubsub(host, self.router, self._topic)
        self._guard()

    def broadcast(self, data: bytes) -> None:
        """Queues an announcement; when too many wait, the oldest is dropped and counted."""
        if len(data) > self._settings.gossip_bytes_max:
            raise ValueError(f"an announcement of {len(data)} bytes; the limit is {self._settings.gossip_bytes_max}")
        if len(self._queue) >= self._settings.gossip_queued_max:
            self._queue.popleft()
            self._tally.dropped["announcement queue full"] += 1
        self._queue.append(data)
        self._queued.set()
        if self.idle.is_set():
            self.idle = trio.Event()

    async def subscribe(self) -> "ISubscriptionAPI":
        """Joins the topic; the services must be running."""
        with trio.fail_after(self._settings.stream_open_timeout_s):
            await self.pubsub.wait_until_ready()
            return await self.pubsub.subscribe(self._topic)

    async def publish_all(self) -> None:
        """Publishes what is queued, one at a time, for ever."""
        while True:
            await self._queued.wait()
            self._queued = trio.Event()
            while self._queue:
                await self.pubsub.publish(self._topic, self._queue.popleft())
                self._tally.gossip_out += 1
            self.idle.set()

    async def receive_all(self, subscription: "ISubscriptionAPI", deliver: Deliver) -> None:
        """Delivers what others announce, for ever."""
        while True:
            message: Message = await subscription.get()
            author = _peer(message.from_id)
            if author != self._own:
                self._tally.gossip_in += 1
                await deliver(GossipReceived(author, message.data))

    def _objection(self, neighbour: PeerId, message: "Message") -> str:
        """Why not even the signature is worth looking at; empty if it is."""
        if len(message.data) > self._settings.gossip_bytes_max:
            return "announcement too long"
        if list(message.topicIDs) != [self._topic]:
            return "announcement on another topic"
        if not self._is_member(neighbour) or not self._is_member(_peer(message.from_id)):
            return "announcement by a stranger"
        if not self._neighbours.allow(neighbour, trio.current_time()):
            return "too many announcements"
        return ""

    def _validate(self, _: ID, message: "Message") -> bool:
        """After the signature was verified, and once for each message: the author's own budget."""
        author = _peer(message.from_id)
        if author == self._own or self._authors.allow(author, trio.current_time()):
            return True
        self._tally.dropped["too many announcements"] += 1
        return False

    def _guard(self) -> None:
        """Puts our checks before the library's, and its exceptions behind ours."""
        pubsub, router = cast(Any, self.pubsub), cast(Any, self.router)
        push, write, handle_rpc = pubsub.push_msg, pubsub.write_msg, router.handle_rpc

        async def push_msg(forwarder: ID, message: "Message") -> None:
            neighbour = _peer(forwarder.to_bytes())
            if neighbour != self._own and (objection := self._objection(neighbour, message)):
                self._tally.dropped[objection] += 1
                return
            await self._contained(push, forwarder, message)

        async def write_msg(stream: "INetStream", rpc: "RPC") -> bool:
            if not self._is_member(_peer(stream.muxed_conn.peer_id.to_bytes())):
                return True
            return bool(await write(stream, rpc))

        async def handle_rpc_of_member(rpc: "RPC", sender: ID) -> None:
            if self._is_member(_peer(sender.to_bytes())):
                await handle_rpc(rpc, sender)

        pubsub.push_msg, pubsub.write_msg, router.handle_rpc = push_msg, write_msg, handle_rpc_of_member
        router._get_peers_to_send = self._with_flood(router._get_peers_to_send)
        for name in ("flush_pending_messages", "on_peer_subscribed"):
            setattr(router, name, self._containing(getattr(router, name)))
        self.pubsub.set_topic_validator(self._topic, self._validate, is_async_validator=False)

    def _with_flood(self, choose: Callable[..., Iterable[ID]]) -> Callable[..., Iterable[ID]]:
        """Our own announcements go to every subscriber and not to the mesh alone, as gossipsub 1.1 advises.

        One hop less, and nothing is lost on a peer that has subscribed and is not yet grafted.
        """

        def chosen(topics: Iterable[str], msg_forwarder: ID, origin: ID, msg_id: bytes | None = None) -> set[ID]:
            peers = set(choose(topics, msg_forwarder=msg_forwarder, origin=origin, msg_id=msg_id))
            if _peer(msg_forwarder.to_bytes()) == self._own:
                peers.update(islice(self.pubsub.peer_topics.get(self._topic, ()), FLOODED_MAX))
            return peers

        return chosen

    def _containing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def contained(*arguments: object) -> None:
            await self._contained(function, *arguments)

        return contained

    async def _contained(self, function: Callable[..., Any], *arguments: object) -> None:
        try:
            await function(*arguments)
        except Exception as error:  # noqa: BLE001 - a message can make the library raise anything
            log.debug("an announcement broke its handler: %r", error)
            self._tally.dropped["broken announcement"] += 1


@lru_cache(maxsize=1024)
def _peer(raw: bytes) -> PeerId:
    return PeerId(ID(raw).to_base58())


def _make_router() -> GossipSub:
    return GossipSub(
        protocols=cast(Any, list(_PROTOCOLS)),
        degree=6,
        degree_low=4,
        degree_high=12,
        heartbeat_interval=1,
        adaptive_gossip_enabled=False,
        spam_protection_enabled=False,  # it counts our own messages too, and drops after delivery; see `Rates`
    )


def _make_pubsub(host: BasicHost, router: GossipSub, topic: str) -> Pubsub:
    pubsub_module.SUBSCRIPTION_CHANNEL_SIZE = SUBSCRIPTION_QUEUED_MAX
    rpc_queue.RpcQueue.__init__.__defaults__ = (PEER_QUEUED_MAX, rpc_queue.DefaultMaxMessageSize)
    _spare_signed_addresses()
    pubsub = Pubsub(
        host,
        router,
        strict_signing=True,
        allowed_topics=frozenset({topic}),
        max_subscriptions_per_rpc=16,
        max_inbound_rpc_size=RPC_BYTES_MAX,
    )
    pubsub.counter = time.time_ns()  # in the future of all that this peer has used before
    return pubsub


def _spare_signed_addresses() -> None:
    """The library sends its signed addresses with every message and verifies those of others: most of the cost.

    We dial only what the core says, so ours are made once, for peers that insist on them, and theirs are passed over.
    """
    records: WeakKeyDictionary[IHost, tuple[bytes, bool]] = WeakKeyDictionary()

    def record_made_once(host: "IHost") -> tuple[bytes, bool]:
        return records.get(host) or records.setdefault(host, env_to_send_in_RPC(host))

    def nothing_consumed(*_: object) -> bool:
        return True

    cast(Any, pubsub_module).maybe_consume_signed_record = nothing_consumed
    for module in (pubsub_module, gossipsub_module):
        cast(Any, module).env_to_send_in_RPC = record_made_once
