"""Token buckets."""

from coterie.network.rates import BUCKETS_MAX, Rates
from coterie_protocols.identity import PeerId

A, B = PeerId("a"), PeerId("b")


def test_a_burst_then_the_rate() -> None:
    rates = Rates(per_s=5.0)
    assert [rates.allow(A, 0.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert [rates.allow(A, 1.0) for _ in range(7)] == [True] * 5 + [False] * 2


def test_one_does_not_pay_for_another() -> None:
    rates = Rates(per_s=1.0)
    while rates.allow(A, 0.0):
        pass
    assert rates.allow(B, 0.0)


def test_a_long_silence_earns_no_more_than_a_burst() -> None:
    rates = Rates(per_s=1.0)
    assert sum(rates.allow(A, 0.0) for _ in range(10)) == 2
    assert sum(rates.allow(A, 1e6) for _ in range(10)) == 2


def test_only_the_latest_are_kept() -> None:
    rates = Rates(per_s=0.5)
    assert rates.allow(A, 0.0)
    assert not rates.allow(A, 0.0)
    for n in range(BUCKETS_MAX):
        rates.allow(PeerId(str(n)), 0.0)
    assert rates.allow(A, 0.0)
