"""Every limit, timeout and address of the network adapter, by name and unit."""

from dataclasses import dataclass

from coterie_protocols.encoding import Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What `open_network` needs to know. Times are seconds, sizes bytes, addresses multiaddr texts."""

    coterie: Cid
    """Names the gossip topic, which does not reveal it."""

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/7411",)
    announce: tuple[str, ...] = ()
    """Replaces the addresses that `listen` comes to, for machines behind a NAT."""

    connections_max: int = 256
    connections_per_peer_max: int = 8
    """Both sides may dial at once, and a dead connection may take a while to be noticed."""
    strangers_max: int = 32
    """Connections from peers that are neither members nor remembered."""
    stranger_s_max: float = 30.0
    stranger_frames_max: int = 16
    stranger_bytes_max: int = 512 * 1024
    faults_max: int = 8
    """Broken streams of one connection, beyond which it is closed."""
    streams_per_peer_max: int = 32
    """Inbound streams of one peer at once, over all its connections."""
    penalty_s: float = 60.0
    """How long a dropped peer is refused."""
    penalties_max: int = 1024

    frame_bytes_max: int = 128 * 1024
    frames_queued_max: int = 256
    send_timeout_s: float = 10.0
    write_timeout_s: float = 10.0
    """For one write to a stream, and for the rest of a frame that has begun to come in."""
    stream_open_timeout_s: float = 5.0

    gossip_bytes_max: int = 16 * 1024
    gossip_queued_max: int = 64
    announcements_per_s_max: float = 20.0
    """From one author; twice as many may come at once after a pause."""
    forwarded_per_s_max: float = 400.0
    """From one neighbour, counted before any signature is checked."""

    request_bytes_max: int = 4 * 1024
    chunk_bytes_max: int = 64 * 1024
    fetches_per_peer_max: int = 8
    fetch_idle_timeout_s: float = 10.0
    keepalive_s: float = 3.0
    """How often a server that has nothing to say says so; well under `fetch_idle_timeout_s`."""

    remembered_max: int = 1024
    addresses_per_peer_max: int = 16
    dials_max: int = 16
    """Addresses dialled at once."""
    dial_timeout_s: float = 5.0
    dial_stagger_s: float = 0.25
    """The lead that each address of a peer has over the next (RFC 8305 suggests this value)."""
    redial_base_s: float = 0.2
    redial_cap_s: float = 30.0
    stable_s: float = 5.0
    """A connection that stood this long makes the next redial start from `redial_base_s` again."""

    watchdog_interval_s: float = 15.0
    patience_s: float = 6.0
    close_timeout_s: float = 3.0
    flush_timeout_s: float = 0.5
    """How long leaving waits for queued frames and announcements to go out."""
