"""A py-libp2p host that one peer cannot bring down: Noise and yamux over TCP, and nothing else.

What is repaired, and what happens without it:
- secio and plaintext are among the default handshakes, and plaintext proves nothing: anybody can be anybody
- an exception in a stream handler ends the host, and five bytes are enough to cause one
- each inbound connection holds a token and a task until the process ends: the 251st is refused for ever
- the auto-connector dials every address that anybody ever told us
- the library retries dials four times over; our keepers do that, with jitter
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.io.exceptions import IOException
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux

from coterie.network.addresses import Multiaddr
from coterie.network.framing import finish
from coterie.network.muxer import repair, repair_windows
from coterie.network.pins import require_pinned_library
from coterie.network.settings import NetworkSettings
from coterie_protocols.identity import PeerId, SigningKey

if TYPE_CHECKING:
    from libp2p.abc import INetStream
    from libp2p.io.abc import ReadWriteCloser
    from libp2p.network.connection.swarm_connection import SwarmConn

log = logging.getLogger(__name__)

UPGRADE_TIMEOUT_S: Final = 5.0
NEGOTIATION_TIMEOUT_S: Final = 5.0
_QUIET: Final = ("libp2p", "libp2p.network.auto_connector")

AddressesFactory = Callable[[Sequence[Multiaddr]], list[Multiaddr]]
Fault = Callable[["INetStream", str], None]
"""Is told of each inbound stream that was reset because the peer broke the protocol, and why."""


def quiet_library_logs() -> None:
    """The library logs refused dials and ended streams as errors, some on a logger that sets its own level."""
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith("libp2p."):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("libp2p").propagate = True
    logging.getLogger().addFilter(_not_of_library)  # parts of it log on the root logger


def _not_of_library(record: logging.LogRecord) -> bool:
    return "/libp2p/" not in record.pathname


def make_host(key: SigningKey, settings: NetworkSettings, announced: AddressesFactory, fault: Fault) -> BasicHost:
    """A host that is not running yet. Raises RuntimeError if the library is not the one that this is written for."""
    require_pinned_library()
    quiet_library_logs()
    repair_windows()
    pair = create_new_key_pair(key.seed)
    host = cast(
        BasicHost,
        new_host(
            key_pair=pair,
            sec_opt={NOISE: NoiseTransport(pair, noise_privkey=create_noise_key_pair().private_key)},
            muxer_opt={cast(Any, YAMUX): Yamux},
            listen_addrs=[Multiaddr(text) for text in settings.listen],
            connection_config=_connection_config(settings),
            addrs_factory=cast(Any, announced),
            disable_identify_address_discovery=True,
        ),
    )
    swarm = cast(Swarm, host.get_network())
    swarm.set_resource_manager(None)  # a default one is there, and each refusal costs it a slot for ever
    swarm.retry_config = RetryConfig(max_retries=0)
    cast(Any, swarm.auto_connector).maybe_connect = _dial_nobody
    _guard_streams(host, swarm, settings.streams_per_peer_max, fault)
    _repair_connections(swarm)
    return host


def _connection_config(settings: NetworkSettings) -> ConnectionConfig:
    return ConnectionConfig(
        max_connections=settings.connections_max,
        min_connections=0,
        low_watermark=0,
        high_watermark=settings.connections_max,
        max_connections_per_peer=settings.connections_max,  # ours is kept at once, this one by a later sweep
        inbound_upgrade_timeout=UPGRADE_TIMEOUT_S,
        outbound_upgrade_timeout=UPGRADE_TIMEOUT_S,
        inbound_stream_protocol_negotiation_timeout=NEGOTIATION_TIMEOUT_S,
        outbound_stream_protocol_negotiation_timeout=NEGOTIATION_TIMEOUT_S,
    )


async def _dial_nobody(*_: object) -> None:
    """In place of the auto-connector's round."""


def peer_of(stream: "INetStream") -> PeerId:
    """Who is at the other end, as the handshake proved."""
    return PeerId(stream.muxed_conn.peer_id.to_base58())


def _guard_streams(host: BasicHost, swarm: Swarm, streams_per_peer_max: int, fault: Fault) -> None:
    """Limits the inbound streams of a peer and keeps what a stream does to its handler from the host."""
    handle: Callable[[INetStream], Awaitable[None]] = host._swarm_stream_handler  # pyright: ignore[reportPrivateUsage]
    streams = Counter[PeerId]()

    async def guarded(stream: "INetStream") -> None:
        peer = peer_of(stream)
        if streams[peer] >= streams_per_peer_max:
            fault(stream, "too many streams")
            await stream.reset()
            return
        streams[peer] += 1
        try:
            await handle(stream)
            await finish(stream)  # some of the library's handlers leave it half open
        except Exception as error:  # noqa: BLE001 - a peer can make the library raise anything
            if not isinstance(error, IOException | RawConnError | SwarmException):
                log.debug("a stream of %s broke its handler: %r", peer, error)
                fault(stream, "broken stream")
            await stream.reset()
        finally:
            streams[peer] -= 1
            if not streams[peer]:
                del streams[peer]

    swarm.set_stream_handler(cast(Any, guarded))


def _repair_connections(swarm: Swarm) -> None:
    add = swarm.add_conn

    async def add_repaired(muxed_conn: Yamux, direction: str = "unknown") -> "SwarmConn":
        repair(muxed_conn)
        return await add(muxed_conn, direction)

    async def accept(closer: "ReadWriteCloser", listener: Multiaddr, _: object) -> None:
        """In place of a handler that waits for the end of the swarm and not of the connection."""
        raw = RawConnection(closer, initiator=False)
        try:
            muxed = cast(Yamux, await swarm.upgrade_inbound_raw_conn(raw, listener))
        except Exception as error:  # noqa: BLE001 - as above
            log.debug("an inbound connection failed: %r", error)
            await raw.close()
        else:
            await muxed.event_closed.wait()

    replaced = cast(Any, swarm)
    replaced.add_conn, replaced._do_handle_inbound_connection = add_repaired, accept
