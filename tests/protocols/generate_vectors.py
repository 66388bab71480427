"""Writes the vectors of SPEC.md: events, messages, invitations and digests. `test_vectors.py` checks them.

Run `python tests/protocols/generate_vectors.py` to write the files anew.
"""

import json
import sys
from pathlib import Path

if __name__ == "__main__":  # as a script, this directory's parent is where its siblings are found
    sys.path.insert(0, str(Path(__file__).parents[1]))

import coterie_protocols
from coterie_protocols.encoding import Value, cid_of_blob, encode
from coterie_protocols.event import Event
from coterie_protocols.invite import Token, token_to_text
from coterie_protocols.messages import (
    Announcement,
    BlobRequest,
    Events,
    LogRequest,
    SyncDone,
    SyncRequest,
    encode_message,
    encode_request,
)
from coterie_protocols.ops import TaskSpec
from protocols.building import (
    Pen,
    cancel,
    claim,
    done,
    key,
    raw_body,
    release,
    run_of,
    seal,
    spec,
    submit,
    write_unknown,
)
from protocols.histories import Observer

DIRECTORY = Path(coterie_protocols.__file__).parent / "vectors"
Json = dict[str, object]


def story() -> Pen:
    """A coterie of four in which everything happens once."""
    pen = Pen()
    pen.join(2, labels=("gpu",), slots=4)
    pen.join(3, "work")
    pen.join(4, "observe")
    shared = pen.certificate(900, ("submit",), uses=1)
    late = pen.join_with(6, shared, 900, parents=[pen.write(1), pen.genesis])
    pen.join_with(5, shared, 900)  # earlier by Lamport: it takes the place of the other
    void = pen.write(6, submit(), parents=[late, pen.genesis])
    matrix = TaskSpec("test (1)", "test", ("build",), ("gpu",), fail_fast=True, max_parallel=1)
    op = submit(spec("build"), matrix, spec("after", "test", conditional=True), retries=1)
    submission = pen.write(2, op)
    run = run_of(submission)
    rivals = [pen.write(author, claim(run, "build"), parents=[submission]) for author in (1, 2, 3)]
    pen.write(4, claim(run, "build"), cancel(run))  # an observer: void
    pen.write(3, release(run, rivals[2], task="build"))
    again = pen.write(1, claim(run, "build", 2, rivals[2]))
    pen.write(2, done(run, rivals[1], "failure", task="build"))
    pen.write(1, done(run, again, task="build", attempt=2))
    write_unknown(pen, 1, [{"op": "later", "what": [1, 2.5, None, "é"]}])
    entry = pen.entries[4]
    pen.write(4, prev=entry, parents=[entry], time_ms=5)  # a fork
    pen.write(2, cancel(run_of(void)))
    return pen


def named(event: Event) -> Json:
    """An event in parts."""
    header = event.header
    return {
        "bytes": event.data.hex(),
        "cid": event.cid,
        "author": header.author,
        "seq": header.seq,
        "prev": header.prev,
        "parents": list(header.parents),
        "lamport": header.lamport,
        "ops": [type(op).__name__.lower() for op in event.ops],
    }


def events() -> Json:
    """Good ones, and bad ones with what is wrong with them."""
    pen = story()
    body = raw_body(pen.events[-1])
    author = next(number for number in range(1, 7) if key(number).peer_id == body["author"])
    signer = key(author)
    small = seal(signer, {**body, "author": "12D3KooW" + "1" * 44})
    bad = {
        "a byte of the signature changed": pen.genesis.data[:-1] + bytes([pen.genesis.data[-1] ^ 1]),
        "signed by somebody else": seal(key(99), body),
        "signed for another domain": seal(signer, body, domain=b"coterie/join/1\n"),
        "an eleventh key": seal(signer, {**body, "x": 1}),
        "version 2": seal(signer, {**body, "v": 2}),
        "no parents": seal(signer, {**body, "parents": []}),
        "a parent twice": seal(signer, {**body, "parents": [body["parents"][0]] * 2}),  # type: ignore[index]
        "prev without seq": seal(signer, {**body, "seq": 1}),
        "two claims": seal(signer, {**body, "ops": [{"op": "claim", "run": "r", "task": "t", "attempt": 1}] * 2}),
        "not a peer id": small,
        "too deep": seal(signer, {**body, "ops": [{"op": "later", "x": nested(32)}]}),
    }
    seeds = {key(number).peer_id: key(number).seed.hex() for number in range(1, 7)}
    return {
        "about": "SPEC.md section 3; seeds are Ed25519 seeds by peer id",
        "seeds": seeds,
        "coterie": pen.coterie,
        "good": [named(event) for event in pen.events],
        "bad": {why: data.hex() for why, data in bad.items()},
    }


def nested(depth: int) -> list[Value]:
    """Lists in each other."""
    value: list[Value] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def messages() -> Json:
    """One of each kind, and a few bad ones."""
    pen = story()
    observer = Observer(pen.coterie)
    observer.receive_all(pen.events)
    clock = observer.clock
    announcement = Announcement(
        boot_ms=1_700_000_000_000,
        number=3,
        name="büro",
        labels=("linux", "gpu"),
        slots=4,
        leaving=False,
        claims=(pen.events[-1].cid,),
        addresses=("/ip4/127.0.0.1/tcp/4001",),
        heads=tuple(head.cid for head in clock.heads[:8]),
        fingerprint=clock.fingerprint,
        events=(pen.events[-1].data,),
    )
    request = LogRequest(run_of(pen.events[9]), "test (1)", 2, 100, True)
    return {
        "about": "SPEC.md section 10; a frame is sent with four bytes of length before it",
        "frames": {
            "announce": encode_message(announcement).hex(),
            "want": encode_message(SyncRequest(clock.frontier, clock.fingerprint)).hex(),
            "events": encode_message(Events((pen.genesis.data, pen.events[1].data))).hex(),
            "done": encode_message(SyncDone(clock.frontier, clock.fingerprint, True)).hex(),
        },
        "requests": {
            "blob": encode_request(BlobRequest(cid_of_blob(bytes(32)))).hex(),
            "log": encode_request(request).hex(),
        },
        "bad frames": {
            "no kind": encode({"set": "00" * 32}).hex(),
            "half a fingerprint": encode({"kind": "want", "have": {}, "set": "00" * 16}).hex(),
            "a tip before the first": encode({"kind": "want", "have": {clock.heads[0].author: [0, None]}}).hex(),
            "keys out of order": "a2646b696e64637365740" + "1616101",
        },
    }


def invites() -> Json:
    """A token, what it holds, and joins that must be refused."""
    pen = Pen()
    certificate = pen.certificate(900, ("submit", "work"), uses=2, expires_ms=1_800_000_000_000, labels=("gpu",))
    token = Token((pen.genesis,), certificate, key(900).seed, ("/ip4/127.0.0.1/tcp/4001/p2p/" + key(1).peer_id,))
    good = pen.join_with(2, certificate, 900, time_ms=1_800_000_000_000)
    expired = pen.join_with(3, certificate, 900, time_ms=1_800_000_000_001)
    by_worker = pen.join(4, issuer=2, parents=[good])
    foreign = pen.join_with(5, pen.certificate(901, coterie=Pen(7).coterie), 901)
    return {
        "about": "SPEC.md sections 2 to 4; events are those of newcomers, over the genesis",
        "token": token_to_text(token),
        "genesis": pen.genesis.data.hex(),
        "certificate": {
            "coterie": certificate.coterie,
            "issuer": certificate.issuer,
            "invite": certificate.invite,
            "roles": list(certificate.roles),
            "labels": list(certificate.labels),
            "expires": certificate.expires_ms,
            "uses": certificate.uses,
            "signature": certificate.signature.hex(),
        },
        "good": good.data.hex(),
        "bad": {
            "expired by a millisecond": expired.data.hex(),
            "issued by who is no admin": by_worker.data.hex(),
            "of another coterie": foreign.data.hex(),
        },
    }


def digests() -> Json:
    """What a coterie comes to, after each event in the order of writing."""
    pen = story()
    observer = Observer(pen.coterie)
    steps: list[Json] = []
    for event in pen.events:
        observer.receive(event)
        steps.append(
            {"bytes": event.data.hex(), "set": observer.clock.fingerprint.hex(), "digest": observer.state.digest()}
        )
    state = observer.state
    return {
        "about": "SPEC.md sections 3, 6, 7 and 9",
        "coterie": pen.coterie,
        "steps": steps,
        "heads": [head.cid for head in observer.clock.heads],
        "frontier": {author: [tip.seq, tip.cid] for author, tip in sorted(observer.clock.frontier.items())},
        "members": {peer: sorted(member.roles) for peer, member in sorted(state.members.items())},
        "runs": {
            run.id: {
                task: {
                    "phase": view.standing.phase,
                    "attempt": view.standing.attempt,
                    "claim": view.standing.claim.cid if view.standing.claim else None,
                    "result": view.standing.done.header.cid if view.standing.done else None,
                    "status": view.status,
                    "ready": view.ready,
                }
                for task in run.specs
                for view in [run.view(task, state.authority)]
            }
            for run in state.runs
        },
    }


def files() -> dict[str, str]:
    """The content of each file by its name."""
    made = {"events": events(), "messages": messages(), "invites": invites(), "digests": digests()}
    return {f"{name}.json": json.dumps(value, indent=1, ensure_ascii=False) + "\n" for name, value in made.items()}


if __name__ == "__main__":
    for name, text in files().items():
        (DIRECTORY / name).write_text(text, encoding="utf-8")
