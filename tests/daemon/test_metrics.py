"""Metrics: what is counted shows up under its documented name, and daemons do not count for each other."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from coterie.metrics import Metrics
from coterie.network.counters import Tally


def _samples(metrics: Metrics) -> dict[str, float]:
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples


def test_what_is_counted_shows_under_its_name() -> None:
    metrics = Metrics("1.2.3", "12D3Koo")
    metrics.events_appended(3)
    metrics.events_received()
    metrics.clock(events=4, pending=1, heads=2)
    metrics.peers(members=3, connected=2)
    metrics.task_claimed()
    metrics.task_started()
    metrics.task_started()
    metrics.task_ended("failure")
    metrics.runs({"running": 1, "success": 5})
    metrics.inbox(12)
    samples = _samples(metrics)
    expected = {
        "coterie_build_info{peer=12D3Koo,version=1.2.3}": 1,
        "coterie_events_appended_total": 3,
        "coterie_events_received_total": 1,
        "coterie_events": 4,
        "coterie_events_pending": 1,
        "coterie_heads": 2,
        "coterie_members": 3,
        "coterie_members_connected": 2,
        "coterie_tasks_claimed_total": 1,
        "coterie_tasks_started_total": 2,
        "coterie_tasks_ended_total{status=failure}": 1,
        "coterie_tasks_running": 1,
        "coterie_runs{status=running}": 1,
        "coterie_runs{status=success}": 5,
        "coterie_inbox_depth": 12,
    }
    assert {name: samples.get(name) for name in expected} == expected


def test_the_network_tells_its_own_totals() -> None:
    metrics = Metrics()
    tally = Tally(frames_in=7, frame_bytes_out=900, gossip_out=11, fetch_bytes_in=5, dials=3, dial_failures=1)
    tally.dropped["queue full"] = 13
    metrics.network(tally.snapshot(connections=2, peers=2, remembered=2))
    expected = {
        "coterie_frames_total{direction=in}": 7,
        "coterie_frame_bytes_total{direction=out}": 900,
        "coterie_gossip_messages_total{direction=out}": 11,
        "coterie_fetch_bytes_total{direction=in}": 5,
        "coterie_dials_total{result=failed}": 1,
        "coterie_dropped_total{reason=queue full}": 13,
    }
    samples = _samples(metrics)
    assert {name: samples.get(name) for name in expected} == expected


def test_a_commit_is_timed_also_when_it_fails() -> None:
    metrics = Metrics()
    with metrics.saving():
        pass
    with pytest.raises(OSError, match="disk full"), metrics.saving():
        raise OSError("disk full")
    assert _samples(metrics)["coterie_save_seconds_count"] == 2


def test_two_daemons_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.task_claimed()
    assert _samples(other)["coterie_tasks_claimed_total"] == 0


def test_the_process_itself_is_measured() -> None:
    assert _samples(Metrics())["process_resident_memory_bytes"] > 0
