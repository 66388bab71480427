"""What a replica is told from outside: the time, and what its owner decided for it."""

from dataclasses import dataclass

from coterie_protocols.scheduler_settings import SchedulerSettings


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, twice: monotonic seconds, by which all is decided, and Unix milliseconds, which only people read."""

    monotonic: float
    wall_ms: int


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """What one peer decides for itself. Times in seconds."""

    name: str
    scheduler: SchedulerSettings
    announce_interval_s: float = 0.1
    presence_interval_s: float = 10.0
    anti_entropy_interval_s: float = 30.0
    sync_timeout_s: float = 10.0
    recover_timeout_s: float = 3.0
