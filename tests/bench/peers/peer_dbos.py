"""DBOS with SQLite: the chain as steps of one workflow, the fan-out as 1,000 workflows (side by side)."""

import json
import tempfile
import time

from dbos import DBOS, DBOSConfig

CHAIN, FAN = 100, 1000


def main() -> None:
    folder = tempfile.mkdtemp()
    config: DBOSConfig = {"name": "bench", "system_database_url": f"sqlite:///{folder}/dbos.db", "log_level": "ERROR"}
    DBOS(config=config)

    @DBOS.step()
    def give(value: int) -> int:
        return value

    @DBOS.workflow()
    def chain(length: int) -> int:
        value = 1
        for _ in range(length):
            value = give(value)
        return value

    @DBOS.workflow()
    def one(value: int) -> int:
        return give(value)

    DBOS.launch()
    chain(5)
    start = time.perf_counter()
    chain(CHAIN)
    chain_us = (time.perf_counter() - start) / CHAIN * 1e6
    start = time.perf_counter()
    handles = [DBOS.start_workflow(one, number) for number in range(FAN)]
    for handle in handles:
        handle.get_result()
    fan_us = (time.perf_counter() - start) / FAN * 1e6
    print(json.dumps({"chain_us": chain_us, "fan_us": fan_us}))
    DBOS.destroy()


main()
