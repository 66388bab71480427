"""The daemon's own log on standard error: coloured on a terminal, key=value lines elsewhere, JSON when asked for.

Everything passes through here, our own events (`structlog.get_logger("coterie.peer")`) and the libraries' records
alike, so that one format, one level and one rule for secrets hold. Call `configure_log` after libp2p is imported:
that import takes the handlers of the `libp2p` logger away and raises the level of others.
"""

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from coterie_protocols.invite import TOKEN_PREFIX

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "console"]

HIDDEN: Final = "[hidden]"
VALUE_CHARS_MAX: Final = 4096
SECRET_KEYS: Final = frozenset({"authorization", "passphrase", "password", "private_key", "secret", "seed", "token"})
NOISY: Final = ("libp2p", "hypercorn.access", "multiaddr", "async_service", "zeroconf", "aioquic", "quic")
_TOKEN = re.compile(re.escape(TOKEN_PREFIX) + r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def configure_log(
    level: Level, format_: Format, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> None:
    """Sends all logging of this process to `stream` (standard error) from `level` on; may be called again."""
    out = sys.stderr if stream is None else stream
    journal = _is_journal(out, environ)
    shared = _shared(journal)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_final(format_, out))
    handler.setFormatter(_JournalFormatter(formatter) if journal else formatter)
    if level != "debug":
        handler.addFilter(_is_named)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _quiet_libraries(level)


def _shared(journal: bool) -> list[Processor]:
    """What every record goes through, ours and the libraries'. The journal keeps its own time."""
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    if not journal:
        processors.insert(0, structlog.processors.TimeStamper(fmt="iso", utc=True))
    return processors


def _final(format_: Format, out: TextIO) -> list[Processor]:
    """How a record becomes a line."""
    renderer: Processor
    if format_ == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    elif format_ == "console" or (format_ == "auto" and out.isatty()):
        renderer = structlog.dev.ConsoleRenderer(colors=out.isatty(), sort_keys=False)
    else:
        renderer = structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "logger", "event"], drop_missing=True, bool_as_flag=False
        )
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]


class _JournalFormatter(logging.Formatter):
    """Puts the priority before each line, as sd-daemon(3) says, so that `journalctl -p warning` works."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for least, number in _PRIORITIES if record.levelno >= least), 7)
        return f"<{priority}>{self._inner.format(record)}"


def _is_named(record: logging.LogRecord) -> bool:
    """py-libp2p writes part of its noise to the root logger; nobody else here does."""
    return record.name != "root"


def _is_journal(out: TextIO, environ: Mapping[str, str]) -> bool:
    """Does `out` lead to the journal? systemd.exec(5): JOURNAL_STREAM holds device and inode of that very stream."""
    wanted = environ.get("JOURNAL_STREAM")
    if not wanted:
        return False
    try:
        found = os.fstat(out.fileno())
    except (OSError, ValueError):
        return False
    return wanted == f"{found.st_dev}:{found.st_ino}"


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hides values under secret names and invitations anywhere, and keeps control characters off the terminal."""
    for key, value in event.items():
        if (key in SECRET_KEYS or key.rsplit("_", 1)[-1] in SECRET_KEYS) and value is not None:
            event[key] = HIDDEN
        elif isinstance(value, str):
            event[key] = _harmless(value, VALUE_CHARS_MAX if key != "exception" else 16 * VALUE_CHARS_MAX)
    return event


def _harmless(text: str, chars_max: int) -> str:
    hidden = _TOKEN.sub(HIDDEN, text)
    cut = hidden if len(hidden) <= chars_max else f"{hidden[:chars_max]}…"
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", cut)


def _quiet_libraries(level: Level) -> None:
    """py-libp2p says ERROR for what is normal (a refused dial, a stream's end): shown only to who debugs."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.split(".")[0] in NOISY and isinstance(logger, logging.Logger):
            logger.setLevel(logging.NOTSET)
            logger.handlers.clear()
            logger.propagate = True
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)
