"""Huey with SQLite (fsync on), two worker threads in this process; a chain by `then`, a fan-out by calls."""

import json
import logging
import tempfile
import threading
import time

from huey import SqliteHuey
from huey.consumer import Consumer

CHAIN, FAN = 100, 1000
logging.disable(logging.CRITICAL)
huey = SqliteHuey(filename=f"{tempfile.mkdtemp()}/huey.db", fsync=True)


@huey.task()
def give(value: int) -> int:
    return value


def main() -> None:
    consumer = Consumer(huey, workers=2, worker_type="thread", initial_delay=0.001, backoff=1.0, max_delay=0.001)
    consumer._set_signal_handlers = lambda: None
    threading.Thread(target=consumer.run, daemon=True).start()
    give(1).get(blocking=True, max_delay=0.002)
    start = time.perf_counter()
    pipeline = give.s(1)
    for _ in range(CHAIN - 1):
        pipeline = pipeline.then(give)
    results = huey.enqueue(pipeline)
    results.get(blocking=True, max_delay=0.002)
    chain_us = (time.perf_counter() - start) / CHAIN * 1e6
    start = time.perf_counter()
    for result in [give(number) for number in range(FAN)]:
        result.get(blocking=True, max_delay=0.002)
    fan_us = (time.perf_counter() - start) / FAN * 1e6
    print(json.dumps({"chain_us": chain_us, "fan_us": fan_us}), flush=True)


main()
