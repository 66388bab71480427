"""From asking for an execution over the control socket to its first step: durable and begun when the answer comes.

The floor is what no daemon can leave out: a byte there and back over a Unix socket, and one fsynced SQLite commit.
"""

import http.client
import json
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Effort, Figure, main, percentile
from bench.testnets import testnet

ROUNDS = {Effort.QUICK: 100, Effort.NORMAL: 400, Effort.LONG: 2000}
DOCUMENT = {
    "schema": "coterie.workflow/1",
    "id": "bench",
    "steps": [{"id": "s", "type": "process", "config": {"expression": "true"}}],
}
GOAL_P50_MS, GOAL_P99_MS = 1.0, 4.0
PAUSE_S = 0.01
"""Between submissions, so that one is measured and not the work that the last one left."""


def submissions_ms(path: str, rounds: int) -> list[float]:
    """Milliseconds of each submission over one kept connection."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(path)
    body = json.dumps({"document": DOCUMENT})
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        connection.request("POST", "/v1/executions", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        times.append((time.perf_counter() - start) * 1e3)
        assert answer["started_at"] is not None, answer
        time.sleep(PAUSE_S)
    connection.close()
    return times


def floors_ms(folder: Path, rounds: int) -> list[float]:
    """The same for a byte there and back, and one commit."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE executions (id INTEGER PRIMARY KEY, document TEXT)")
    ours, theirs = socket.socketpair()
    echo = threading.Thread(target=_echo, args=(theirs,))
    echo.start()
    times: list[float] = []
    for number in range(rounds):
        start = time.perf_counter()
        ours.send(b"x")
        ours.recv(1)
        connection.execute("INSERT INTO executions VALUES (?, ?)", (number, "{}"))
        times.append((time.perf_counter() - start) * 1e3)
        time.sleep(PAUSE_S)
    ours.close()
    echo.join()
    connection.close()
    return times


def _echo(stream: socket.socket) -> None:
    with stream:
        while data := stream.recv(1):
            stream.send(data)


def measure(effort: Effort) -> Iterator[Figure]:
    """Percentiles over a real daemon."""
    with testnet(1) as state, tempfile.TemporaryDirectory(prefix="coterie-bench-") as folder:
        submissions_ms(state.peers[0].socket, 20)  # the first ones load what is loaded when it is needed
        floors = floors_ms(Path(folder), ROUNDS[effort])
        times = submissions_ms(state.peers[0].socket, ROUNDS[effort])
    for percent, goal in ((50, GOAL_P50_MS), (99, GOAL_P99_MS)):
        yield Figure(
            what=f"submit to started over the socket, p{percent}",
            value=percentile(times, percent),
            unit="ms",
            goal=goal,
            floor=percentile(floors, percent),
            floor_is="echo and one commit",
        )


if __name__ == "__main__":
    main(measure)
