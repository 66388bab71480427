"""The log: one line a record whatever the format, no secrets, no noise, and the journal's own conventions."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from coterie.log import HIDDEN, VALUE_CHARS_MAX, Format, Level, configure_log


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _written(level: Level = "info", format_: Format = "json", **values: object) -> str:
    out = io.StringIO()
    configure_log(level, format_, out, {})
    structlog.get_logger("coterie.test").info("it happened", **values)
    return out.getvalue()


def test_json_is_one_object_a_line() -> None:
    document = json.loads(_written(count=3, name="söm"))
    assert document.pop("timestamp").endswith("Z")
    assert document == {"event": "it happened", "level": "info", "logger": "coterie.test", "count": 3, "name": "söm"}


def test_without_a_terminal_the_log_is_key_value_lines() -> None:
    line = _written(format_="auto", text="two\nlines", flag=True)
    assert line.startswith("timestamp=")
    assert line.endswith(' level=info logger=coterie.test event="it happened" text=two\\nlines flag=true\n')


def test_console_has_no_colours_where_there_is_no_terminal() -> None:
    line = _written(format_="console", count=3)
    assert "it happened" in line
    assert "\x1b" not in line


def test_below_the_level_nothing_is_written() -> None:
    assert _written(level="warning") == ""


def test_secrets_are_hidden_by_name_and_by_look() -> None:
    written = _written(token="abc", api_password="abc", private_key=b"abc", note="join coterie1.AbC-_9 now")
    document = json.loads(written)
    assert document["token"] == document["api_password"] == document["private_key"] == HIDDEN
    assert document["note"] == f"join {HIDDEN} now"
    assert "abc" not in written


def test_a_text_from_outside_controls_no_terminal_and_fills_no_disk() -> None:
    line = _written(format_="console", name="\x1b[2Jgone\x9b", long="x" * 100_000)
    assert "\x1b" not in line
    assert "\\x1b[2Jgone\\x9b" in line
    assert len(line) < VALUE_CHARS_MAX + 1000


def test_an_exception_comes_with_its_traceback_and_without_secrets() -> None:
    out = io.StringIO()
    configure_log("info", "json", out, {})
    try:
        raise ExceptionGroup("two", [ValueError("coterie1.secret"), KeyError("b")])
    except ExceptionGroup:
        structlog.get_logger("coterie.test").exception("broken")
    document = json.loads(out.getvalue())
    assert document["level"] == "error"
    assert "test_log.py" in document["exception"]
    assert "ValueError" in document["exception"]
    assert "coterie1.secret" not in document["exception"]


def test_records_of_libraries_take_the_same_way() -> None:
    out = io.StringIO()
    configure_log("info", "json", out, {})
    logging.getLogger("hypercorn.error").warning("port %d", 7)
    document = json.loads(out.getvalue())
    assert (document["event"], document["level"], document["logger"]) == ("port 7", "warning", "hypercorn.error")


def test_the_noise_of_libp2p_is_for_who_debugs() -> None:
    quiet, loud = io.StringIO(), io.StringIO()
    connector = logging.getLogger("libp2p.network.auto_connector")
    connector.setLevel(logging.INFO)
    for level, out in (("info", quiet), ("debug", loud)):
        configure_log(level, "json", out, {})  # type: ignore[arg-type]
        connector.info("connected")
        logging.getLogger("libp2p.host.basic_host").error("refused")
        logging.getLogger().warning("error getting transport addresses")
    assert quiet.getvalue() == ""
    assert len(loud.getvalue().splitlines()) == 3


def test_configuring_again_replaces_what_was() -> None:
    first = io.StringIO()
    configure_log("info", "json", first, {})
    assert len(_written().splitlines()) == 1
    assert first.getvalue() == ""


def test_the_journal_gets_priorities_and_no_second_clock(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+", encoding="utf-8") as out:
        status = os.fstat(out.fileno())
        configure_log("info", "auto", out, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        log = structlog.get_logger("coterie.test")
        log.info("one")
        log.warning("two")
        log.error("three")
        out.seek(0)
        assert out.read().splitlines() == [
            "<6>level=info logger=coterie.test event=one",
            "<4>level=warning logger=coterie.test event=two",
            "<3>level=error logger=coterie.test event=three",
        ]


def test_another_processs_journal_is_not_ours(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+", encoding="utf-8") as out:
        configure_log("info", "auto", out, {"JOURNAL_STREAM": "1:2"})
        structlog.get_logger("coterie.test").info("one")
        out.seek(0)
        assert out.read().startswith("timestamp=")


@pytest.mark.libp2p
def test_after_its_import_libp2p_writes_nothing_past_us() -> None:
    program = (
        "import logging, libp2p, libp2p.network.swarm\n"
        "from coterie.log import configure_log\n"
        "configure_log('info', 'json')\n"
        "logging.getLogger('libp2p.network.swarm').error('noise')\n"
        "logging.getLogger('libp2p').warning('noise')\n"
        "logging.getLogger('coterie.ours').warning('ours')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert [json.loads(line)["event"] for line in ended.stderr.splitlines()] == ["ours"]
    assert ended.stdout == ""
