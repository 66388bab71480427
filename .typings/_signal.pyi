from collections.abc import Callable
from types import FrameType
from typing import Final

SIG_DFL: Final = 0
SIG_IGN: Final = 1
SIGCHLD: Final[int]
SIGCONT: Final[int]
SIGHUP: Final[int]
SIGINT: Final[int]
SIGKILL: Final[int]
SIGPIPE: Final[int]
SIGSTOP: Final[int]
SIGTERM: Final[int]

def signal(signalnum: int, handler: Callable[[int, FrameType | None], object] | int, /) -> object: ...
def set_wakeup_fd(fd: int, /, *, warn_on_full_buffer: bool = True) -> int: ...
def valid_signals() -> set[int]: ...
