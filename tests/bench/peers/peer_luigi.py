"""Luigi with its local scheduler and one worker: a task is done when its output file is there (no fsync)."""

import json
import logging
import tempfile
import time
from pathlib import Path

import luigi

CHAIN, FAN = 100, 1000
logging.disable(logging.CRITICAL)
FOLDER = Path(tempfile.mkdtemp())


class Link(luigi.Task):
    number = luigi.IntParameter()

    def requires(self):
        return [Link(number=self.number - 1)] if self.number else []

    def output(self):
        return luigi.LocalTarget(str(FOLDER / f"link-{self.number}"))

    def run(self):
        Path(self.output().path).touch()


class Leaf(luigi.Task):
    number = luigi.IntParameter()

    def output(self):
        return luigi.LocalTarget(str(FOLDER / f"leaf-{self.number}"))

    def run(self):
        Path(self.output().path).touch()


def seconds(tasks: list[luigi.Task]) -> float:
    start = time.perf_counter()
    assert luigi.build(tasks, local_scheduler=True, workers=1, log_level="CRITICAL")
    return time.perf_counter() - start


def main() -> None:
    chain_us = seconds([Link(number=CHAIN - 1)]) / CHAIN * 1e6
    fan_us = seconds([Leaf(number=number) for number in range(FAN)]) / FAN * 1e6
    print(json.dumps({"chain_us": chain_us, "fan_us": fan_us}))


main()
