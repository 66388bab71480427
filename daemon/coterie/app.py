"""The composition root: settings -> adapters -> nursery. The only file that knows them all."""

import os
import random
import secrets
import signal
import socket
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Final

import structlog
import trio

from coterie.blame import user_error_in
from coterie.blobs.file_blobs import FileBlobs
from coterie.control.server import serve as serve_control
from coterie.control.socket_file import control_socket
from coterie.copies import Copies
from coterie.executions.prometheus import EngineMetrics
from coterie.executions.service import Executions, ExecutionsSettings
from coterie.executions.tracing import Tracing, open_tracing
from coterie.founding import IDENTITY_FILE, STORE_FILE, Founding, read_founding, require_founding
from coterie.instance_lock import instance_lock
from coterie.log import configure_log
from coterie.network.adapter import Libp2pNetwork, open_network
from coterie.network.addresses import listenable, require_free
from coterie.network.identity_file import load_or_create_identity
from coterie.network.settings import NetworkSettings
from coterie.peer import Peer, PeerSettings
from coterie.runner.logs import FileLogs
from coterie.runner.process import Grace
from coterie.runner.runner import LocalRunner, RunnerSettings, passed_environment
from coterie.service import Service
from coterie.service_notify import ServiceNotify
from coterie.serving import server_of
from coterie.settings import SLOTS_MAX, Settings
from coterie.store.sqlite import SqliteStore
from coterie.wall_clock import unix_ms
from coterie_protocols.announcer import LABELS_BYTES_MAX
from coterie_protocols.errors import UserError
from coterie_protocols.identity import SigningKey
from coterie_protocols.replica import Replica
from coterie_protocols.replica_settings import ReplicaSettings
from coterie_protocols.scheduler_settings import SchedulerSettings

PORT_NOTE: Final = "tcp-port"
EPHEMERAL: Final = "/tcp/0"
DAY_S: Final = 86_400.0
INTERRUPT_SHARE: Final = 0.6
"""How much of `grace_s` a step has after SIGINT; the rest it has after SIGTERM."""

log = structlog.get_logger(__name__)


def run_daemon(settings: Settings) -> int:
    """Runs one peer until SIGTERM or SIGINT; returns the exit code. Raises UserError where it can't go on."""
    configure_log(settings.log_level, settings.log_format)
    require_founding(settings.data_dir)
    with instance_lock(settings.data_dir):
        key = load_or_create_identity(settings.data_dir / IDENTITY_FILE)
        founding = read_founding(settings.data_dir, key)
        try:
            trio.run(_run, as_joined(settings, founding), key, founding)
        except BaseExceptionGroup as group:
            raise user_error_in(group) or group from None
    return 0


def as_joined(settings: Settings, founding: Founding) -> Settings:
    """The settings, with the name and the slots that `join` was given where nothing else says them."""
    said = settings.model_fields_set
    update: dict[str, object] = {}
    if founding.name and "name" not in said:
        update["name"] = founding.name
    if founding.slots is not None and "slots" not in said:
        update["slots"] = min(founding.slots, SLOTS_MAX)
    return settings.model_copy(update=update)


@dataclass(slots=True)
class _Parts:
    """The adapters of one daemon, before the network stands."""

    store: SqliteStore
    blobs: FileBlobs
    logs: FileLogs
    runner: LocalRunner
    peer: Peer
    executions: Executions
    tracing: Tracing | None


async def _run(settings: Settings, key: SigningKey, founding: Founding) -> None:
    notify = ServiceNotify.from_environment()
    store = SqliteStore(settings.data_dir / STORE_FILE)
    try:
        parts = _assemble(settings, key, founding, store)
        killed = await parts.runner.clean()
        if killed:
            log.warning("killed what an earlier daemon left running", processes=killed)
        members = parts.peer.replica.state
        with closing(parts.executions), control_socket(settings.socket) as listener, _closing_tracing(parts.tracing):
            async with (
                parts.executions.opened(),
                open_network(
                    key,
                    _network_settings(settings, founding, store),
                    parts.peer.deliver,
                    server_of(parts.blobs, parts.logs),
                    lambda peer: peer in members.members,
                    random.Random(secrets.randbits(64)),
                ) as network,
            ):
                _remember_port(settings, network, store)
                await _live(settings, key, parts, network, listener, notify)
    finally:
        notify.close()
        store.close()
    log.info("stopped")


@contextmanager
def _closing_tracing(tracing: Tracing | None) -> Generator[None]:
    """Sends what traces wait when it is left."""
    try:
        yield
    finally:
        if tracing is not None:
            tracing.close()


async def _live(
    settings: Settings,
    key: SigningKey,
    parts: _Parts,
    network: Libp2pNetwork,
    listener: socket.socket,
    notify: ServiceNotify,
) -> None:
    peer, stopping = parts.peer, trio.Event()
    members = peer.replica.state
    copies = Copies(parts.blobs, network, lambda: tuple(members.members))
    service = Service(
        key=key,
        name=settings.name,
        data_dir=settings.data_dir,
        peer=peer,
        store=parts.store,
        network=network,
        blobs=parts.blobs,
        logs_here=parts.logs,
        copies=copies,
        stopping=stopping,
        started_at=trio.current_time(),
        count_network=network.counters,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, stopping)
        nursery.start_soon(copies.run)
        nursery.start_soon(peer.run, network, copies)
        nursery.start_soon(
            partial(
                serve_control,
                listener,
                service,
                incoming_dir=settings.data_dir / "incoming",
                source_bytes_max=settings.blob_bytes_max,
                version=version("coterie"),
                executions=parts.executions,
            )
        )
        nursery.start_soon(notify.watchdog, lambda: peer.inbox_depth() < settings.inbox_max)
        notify.ready(f"{settings.name} in {members.coterie_name}")
        log.info("ready", peer=key.peer_id, coterie=members.coterie_name, socket=str(settings.socket))
        await stopping.wait()
        notify.stopping("giving back what runs")
        log.info("stopping")
        async with trio.open_nursery() as ending:
            ending.start_soon(parts.executions.stop)
            ending.start_soon(partial(peer.stop, finish=settings.shutdown == "finish"))
        nursery.cancel_scope.cancel()


async def _stop_on_signal(stopping: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stopping.set()


def _assemble(settings: Settings, key: SigningKey, founding: Founding, store: SqliteStore) -> _Parts:
    known = [event for event in founding.events if store.header(event.cid) is None]
    store.append(known)
    for inviter, addresses in founding.contacts.items():
        if inviter not in store.contacts():
            store.remember(inviter, addresses)
    replica = Replica(
        key, founding.coterie, store, _replica_settings(settings, founding), random.Random(secrets.randbits(64))
    )
    replica.load(store.replay_checked())
    blobs = FileBlobs(settings.data_dir / "blobs", settings.blob_bytes_max)
    logs = FileLogs(settings.data_dir / "logs", settings.log_bytes_max, unix_ms)
    env, grace_s = passed_environment(os.environ), settings.grace_s
    runner_settings = RunnerSettings(
        name=settings.name,
        env=env,
        grace=Grace(interrupt_s=INTERRUPT_SHARE * grace_s, terminate_s=(1 - INTERRUPT_SHARE) * grace_s),
        jobs_max=max(1, settings.slots),
    )
    runner = LocalRunner(settings.data_dir / "work", blobs, runner_settings, unix_ms)
    peer = Peer(replica, store, runner, blobs, logs, unix_ms, PeerSettings(inbox_max=settings.inbox_max))
    executions, tracing = _executions(settings, blobs, env, peer)
    return _Parts(store, blobs, logs, runner, peer, executions, tracing)


def _executions(
    settings: Settings, blobs: FileBlobs, env: Mapping[str, str], peer: Peer
) -> tuple[Executions, Tracing | None]:
    resource = {
        "service.name": "coterie",
        "service.version": version("coterie"),
        "service.instance.id": peer.replica.me,
    }
    tracing = open_tracing(settings.otel_endpoint, resource) if settings.otel_endpoint else None
    metrics = EngineMetrics()
    executions_settings = ExecutionsSettings(
        data_dir=settings.data_dir,
        steps=settings.engine_steps,
        queue_max=settings.engine_queue_max,
        resources=settings.engine_resources,
        durability=settings.engine_durability,
        keep_s=settings.engine_keep_days * DAY_S,
        keep_bytes=settings.engine_keep_bytes,
        grace_s=settings.grace_s,
        log_bytes_max=settings.log_bytes_max,
        env=env,
    )
    executions = Executions(executions_settings, blobs, (metrics,) if tracing is None else (metrics, tracing))
    metrics.watch(executions.engine.core)
    peer.metrics.include(metrics)
    return executions, tracing


def _replica_settings(settings: Settings, founding: Founding) -> ReplicaSettings:
    labels = (*settings.offered_labels(), *founding.labels)
    if len("".join(labels).encode()) > LABELS_BYTES_MAX:
        raise UserError(f"the labels take more than {LABELS_BYTES_MAX} bytes together", "offer fewer or shorter labels")
    return ReplicaSettings(
        name=settings.name,
        scheduler=SchedulerSettings(
            labels=frozenset(label.lower() for label in labels),
            slots=settings.slots,
            lease_s=settings.lease_s,
            stagger_s=settings.stagger_s,
            settle_s=settings.settle_s,
            when_isolated=settings.when_isolated,
        ),
        announce_interval_s=settings.announce_interval_s,
        presence_interval_s=settings.presence_interval_s,
        anti_entropy_interval_s=settings.anti_entropy_interval_s,
    )


def _network_settings(settings: Settings, founding: Founding, store: SqliteStore) -> NetworkSettings:
    """Where the port is left to the system, the one of last time is taken again: others remember it."""
    listen = settings.listen
    port = store.noted(PORT_NOTE)
    if port is not None and _is_ephemeral(settings):
        again = f"{listen[0].removesuffix(EPHEMERAL)}/tcp/{port}"
        try:
            require_free(listenable((again,))[0])
            listen = (again,)
        except UserError as error:
            log.warning("another port than last time", reason=error.message)
    return NetworkSettings(coterie=founding.coterie, listen=listen, announce=settings.announce)


def _remember_port(settings: Settings, network: Libp2pNetwork, store: SqliteStore) -> None:
    if _is_ephemeral(settings):
        store.note(PORT_NOTE, str(network.ports()[0]))


def _is_ephemeral(settings: Settings) -> bool:
    return len(settings.listen) == 1 and settings.listen[0].endswith(EPHEMERAL)
