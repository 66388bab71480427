"""`make demo`: three daemons run a workflow, the one that runs `simulate` is killed, and the run finishes all the same.

A client like any other: it knows the command `coterie` and the control sockets, and nothing of what is behind them.
"""

import json
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from coterie.control.client import Client
from coterie_protocols.errors import UserError

PEERS = 3
WORKFLOW = Path(__file__).resolve().parents[2] / "config" / "examples" / "demo.yml"
VICTIM_JOB = "simulate"
LAST_WORDS = "simulated 3 of 10"
DEMO_S_MAX = 180.0
COMMAND_S_MAX = 90.0
AGREE_S_MAX = 15.0
POLL_S = 0.2
ENDED = frozenset({"success", "failure", "cancelled"})

Run = Mapping[str, Any]
COLOURS = {"success": "32", "failure": "31", "cancelled": "33", "running": "36"}


@dataclass(frozen=True, slots=True)
class Peer:
    """A daemon of the testnet."""

    id: str
    name: str
    pid: int
    client: Client


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a job's output."""

    job: str
    attempt: int
    text: str


@dataclass(slots=True)
class Demo:
    """What is known while the demo runs; background threads only put things into `news`."""

    peers: list[Peer]
    run_id: str = ""
    began: float = field(default_factory=time.monotonic)
    killed: Peer | None = None
    news: queue.Queue["Run | Line"] = field(default_factory=queue.Queue["Run | Line"])
    seen: dict[str, tuple[str, str | None, int]] = field(default_factory=dict[str, tuple[str, str | None, int]])

    def living(self) -> list[Peer]:
        return [peer for peer in self.peers if peer is not self.killed]

    def name_of(self, peer_id: str | None) -> str:
        return next((peer.name for peer in self.peers if peer.id == peer_id), peer_id or "")

    def say(self, text: str, colour: str = "") -> None:
        moment = f"{time.monotonic() - self.began:6.1f} s  "
        print(moment + (f"\x1b[{colour}m{text}\x1b[0m" if colour and sys.stdout.isatty() else text), flush=True)


def coterie(*arguments: str) -> str:
    """Runs the command as a user would, shows it, and returns what it printed on standard output."""
    print(f"\n$ coterie {shlex.join(arguments)}", flush=True)
    command = [str(Path(sys.executable).parent / "coterie"), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=COMMAND_S_MAX, check=True).stdout


def main() -> int:
    """Runs the demo in a directory of its own and leaves nothing behind."""
    directory = Path(tempfile.mkdtemp(prefix="coterie-"))
    try:
        try:
            print(coterie("testnet", "up", "--peers", str(PEERS), "--dir", str(directory)), end="", flush=True)
            return show(directory)
        finally:
            print(coterie("testnet", "down", "--dir", str(directory)), end="", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def show(directory: Path) -> int:
    """Submits, kills, waits, and judges. Returns the exit code."""
    status = json.loads(coterie("testnet", "status", "--dir", str(directory), "--json"))
    demo = Demo([_peer(each) for each in status["peers"]])
    for peer in demo.peers:
        print(f"{peer.name}  pid {peer.pid}  {peer.id}")
    first = demo.peers[0].client.path
    demo.run_id = json.loads(coterie("--socket", str(first), "workflow", "submit", str(WORKFLOW), "--json"))["run"]
    print(f"run {demo.run_id}\n")
    threading.Thread(target=follow_run, args=(demo,), daemon=True).start()
    try:
        final = watch(demo)
    except queue.Empty:
        print(f"the run has not ended within {DEMO_S_MAX:.0f} s")
        return 1
    print_table(demo, final)
    return judge(demo, final)


def _peer(document: Mapping[str, Any]) -> Peer:
    client = Client(Path(document["socket"]))
    return Peer(document["peer"], client.status()["name"], int(document["pid"]), client)


def follow_run(demo: Demo) -> None:
    """Puts each new state of the run into the news, from whichever peer still lives."""
    while True:
        for peer in demo.living():
            try:
                for event, document in peer.client.events(demo.run_id):
                    if event == "run":
                        demo.news.put(document)
            except (UserError, OSError):
                continue  # this peer is gone: the next one knows as much
        time.sleep(POLL_S)


def follow_log(demo: Demo, job: str, attempt: int, holder: str | None) -> None:
    """Puts the lines of one attempt into the news, as the peer that runs it writes them."""
    peer = next((each for each in demo.peers if each.id == holder), demo.peers[0])
    try:
        for text in _unfolded(_lines(peer.client.log(demo.run_id, job, attempt, follow=True))):
            demo.news.put(Line(job, attempt, text))
    except UserError:
        return  # the peer was killed in the middle of this log


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)


def _unfolded(lines: Iterator[str]) -> Iterator[str]:
    """The lines without their times, and of each group its title alone, as GitHub shows them."""
    folded = False
    for line in lines:
        text = line.partition(" ")[2]
        if text.startswith("##[group]"):
            folded = True
            yield text.removeprefix("##[group]")
        elif text == "##[endgroup]":
            folded = False
        elif not folded:
            yield text


def watch(demo: Demo) -> Run:
    """Shows what happens until the run has ended; kills in the middle. Raises queue.Empty after DEMO_S_MAX."""
    while True:
        news = demo.news.get(timeout=max(0.0, demo.began + DEMO_S_MAX - time.monotonic()))
        if isinstance(news, Line):
            demo.say(f"  {news.job}: {news.text}", "2")
            if (news.job, news.attempt) == (VICTIM_JOB, 1) and news.text == LAST_WORDS:
                kill_holder(demo)
            continue
        show_changes(demo, news)
        if news["status"] in ENDED:
            return news


def show_changes(demo: Demo, run: Run) -> None:
    """One line for each job that moved on."""
    for job in run["jobs"]:
        now = (job["status"], job["peer"], job["attempt"])
        if demo.seen.get(job["id"]) == now:
            continue
        demo.seen[job["id"]] = now
        if job["status"] == "running":
            demo.say(f"{job['id']}: attempt {job['attempt']} runs on {demo.name_of(job['peer'])}", COLOURS["running"])
            arguments = (demo, job["id"], job["attempt"], job["peer"])
            threading.Thread(target=follow_log, args=arguments, daemon=True).start()
        elif job["status"] in ENDED:
            demo.say(f"{job['id']}: {job['status']} {job['reason']}".rstrip(), COLOURS[job["status"]])


def kill_holder(demo: Demo) -> None:
    """kill -9 for the daemon that runs the named job."""
    holder = demo.seen[VICTIM_JOB][1]
    if demo.killed is None and holder is not None:
        demo.killed = next(peer for peer in demo.peers if peer.id == holder)
        demo.say(f"$ kill -9 {demo.killed.pid}   # {demo.killed.name}, in the middle of {VICTIM_JOB}", "1;31")
        demo.say("its lease is no longer renewed: once it has run out, another peer starts the job again", "1;31")
        os.kill(demo.killed.pid, signal.SIGKILL)


def print_table(demo: Demo, run: Run) -> None:
    """How each job ended, where, and at which attempt."""
    rows = [("JOB", "STATUS", "PEER", "ATTEMPT", "TOOK")]
    for job in run["jobs"]:
        took = _seconds(job["started_at"], job["ended_at"])
        rows.append((job["id"], job["status"], demo.name_of(job["peer"]), str(job["attempt"]), took))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"\nrun {run['run']}: {run['status']}")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _seconds(began: str | None, ended: str | None) -> str:
    if not began or not ended:
        return ""
    return f"{(datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds():.1f} s"


def judge(demo: Demo, run: Run) -> int:
    """Is it what was promised? Says so, and returns the exit code."""
    holders = {job["peer"] for job in run["jobs"] if job["peer"]}
    attempts = {job["id"]: job["attempt"] for job in run["jobs"]}
    checks = {
        "the run succeeded": run["status"] == "success",
        f"its jobs ran on {len(holders)} peers": len(holders) >= 2,
        f"{demo.killed.name if demo.killed else 'no peer'} was killed": demo.killed is not None,
        f"{VICTIM_JOB} took {attempts[VICTIM_JOB]} attempts": attempts[VICTIM_JOB] >= 2,
        "the peers that are left hold the same clock and the same result": agree(demo.living(), run),
    }
    print()
    for text, holds in checks.items():
        print(f"{'yes' if holds else ' NO'}  {text}")
    return 0 if all(checks.values()) else 1


def agree(peers: Sequence[Peer], run: Run) -> bool:
    """Do all peers come to the same state, with the run ended in it? Gossip may need a moment."""
    limit = time.monotonic() + AGREE_S_MAX
    while time.monotonic() < limit:
        digests = {peer.client.clock()["digest"] for peer in peers}
        statuses = {peer.client.run(run["run"])["status"] for peer in peers}
        if len(digests) == 1 and statuses == {run["status"]}:
            return True
        time.sleep(POLL_S)
    return False


if __name__ == "__main__":
    sys.exit(main())
