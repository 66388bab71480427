"""Fuzzes every decoder: `python tests/fuzz/run.py --seconds 60 [--seed N] [--engine]`.

With atheris installed the search is guided by coverage; without it the vectors are spliced and spoilt at random. Ends
with status 1 and the bytes in hex at the first exception that is neither BadMessage nor, of the engine, UserError.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

INPUT_BYTES_MAX = 4096
HEADS = (b"\x00", b"\xff", b"\x1b", b"\xf6", b"\xd8\x2a", b"\x80", b"\xa0", b"\x9f")


def main() -> int:
    """Runs for as long as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="do without atheris")
    parser.add_argument("--engine", action="store_true", help="files and documents of the engine")
    arguments = parser.parse_args()
    if arguments.engine:
        from fuzz import engine_targets

        return run_plain(arguments.seconds, Random(arguments.seed), engine_targets.corpus(), engine_targets.try_all)
    if arguments.plain or find_spec("atheris") is None:
        from fuzz import targets

        return run_plain(arguments.seconds, Random(arguments.seed), targets.corpus(), targets.try_all)
    return run_guided(arguments.seconds, arguments.seed)


def run_guided(seconds: int, seed: int) -> int:
    """Lets libFuzzer search; it ends the process itself."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["coterie_protocols"]):
        from fuzz.targets import corpus, try_all
    with tempfile.TemporaryDirectory() as directory:
        for index, data in enumerate(corpus()):
            (Path(directory) / str(index)).write_bytes(data)
        options = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-seed={seed + 1}"]
        atheris.Setup([sys.argv[0], *options, directory], try_all)
        atheris.Fuzz()
    return 0


def run_plain(seconds: int, chance: Random, seeds: list[bytes], try_all: Callable[[bytes], None]) -> int:
    """Random splices, flips and cuts of the seeds."""
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = mangle(seeds, chance)
        try:
            try_all(data)
        except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
            traceback.print_exc()
            print(data.hex())
            return 1
        count += 1
    print(f"{count} inputs, nothing but what is allowed")
    return 0


def mangle(seeds: list[bytes], chance: Random) -> bytes:
    """One of the seeds, changed a few times."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randrange(1, 16)]
            case 2:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 3:
                other = chance.choice(seeds)
                start = chance.randrange(len(other))
                data[at : at + chance.randrange(1, 64)] = other[start : start + chance.randrange(1, 64)]
            case _:
                data[at : at + 1] = chance.choice(HEADS)
    return bytes(data[:INPUT_BYTES_MAX])


if __name__ == "__main__":
    sys.exit(main())
