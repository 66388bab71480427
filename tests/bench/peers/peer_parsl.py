"""Parsl with two threads; it stores nothing."""

import json
import logging
import os
import tempfile
import time

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor

CHAIN, FAN = 100, 1000
logging.disable(logging.CRITICAL)
os.chdir(tempfile.mkdtemp())


@python_app
def give(value):
    return value


def main() -> None:
    config = Config(executors=[ThreadPoolExecutor(max_threads=2)], initialize_logging=False, usage_tracking=0)
    with parsl.load(config):
        give(1).result()
        start = time.perf_counter()
        value = 1
        for _ in range(CHAIN):
            value = give(value)
        value.result()
        chain_us = (time.perf_counter() - start) / CHAIN * 1e6
        start = time.perf_counter()
        for future in [give(number) for number in range(FAN)]:
            future.result()
        fan_us = (time.perf_counter() - start) / FAN * 1e6
    print(json.dumps({"chain_us": chain_us, "fan_us": fan_us}))


main()
