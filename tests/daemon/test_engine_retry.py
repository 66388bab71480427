"""When a failed attempt is tried again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.engine.failures import RETRY_AFTER_S_MAX, ErrorClass, Failure
from coterie.engine.retry import ATTEMPTS_MAX, NO_RETRY, RETRYABLE, BadRetryConfig, RetryConfig
from coterie_protocols.errors import UserError


def half() -> float:
    return 0.5


CONFIGS = st.builds(
    RetryConfig,
    max_attempts=st.integers(1, ATTEMPTS_MAX),
    base_delay=st.floats(0.0, 1e5),
    max_delay=st.floats(0.0, 1e5),
    exponential_base=st.floats(1.0, 1000.0),
    jitter=st.booleans(),
)


def test_defaults_are_those_of_the_readme() -> None:
    config = RetryConfig()
    assert (config.max_attempts, config.base_delay, config.max_delay) == (3, 1.0, 60.0)
    assert (config.exponential_base, config.jitter) == (2.0, True)
    assert config.retryable_errors == RETRYABLE == {"connection", "timeout", "server", "temporary", "failure"}
    assert NO_RETRY.max_attempts == 1


def test_delays_grow_up_to_the_cap() -> None:
    config = RetryConfig(base_delay=1.0, max_delay=10.0, jitter=False)
    assert [config.delay_s(n, half) for n in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert config.delay_s(1_000_000, half) == 10.0
    assert RetryConfig(base_delay=0.0, jitter=False).delay_s(1_000_000, half) == 0.0


def test_jitter_is_full() -> None:
    config = RetryConfig(base_delay=1.0, max_delay=10.0)
    assert config.delay_s(3, lambda: 0.0) == 0.0
    assert config.delay_s(3, half) == 2.0
    assert config.delay_s(3, lambda: 0.999) == pytest.approx(3.996)


def test_retry_after_is_kept_to_above_the_cap_but_not_for_ever() -> None:
    config = RetryConfig(max_delay=10.0, jitter=False)
    assert config.delay_s(1, half, 0.5) == 1.0
    assert config.delay_s(1, half, 300.0) == 300.0
    assert config.delay_s(1, half, 1e12) == RETRY_AFTER_S_MAX


@given(CONFIGS, st.integers(1, 10**9), st.floats(0.0, 1.0, exclude_max=True))
def test_every_delay_is_within_bounds(config: RetryConfig, failures: int, drawn: float) -> None:
    assert 0.0 <= config.delay_s(failures, lambda: drawn) <= config.max_delay


@pytest.mark.parametrize("error_class", sorted(RETRYABLE))
def test_classes_that_are_tried_again(error_class: ErrorClass) -> None:
    assert RetryConfig().decide(Failure(error_class, "no"), 1, 0.0, None, half) == 0.5


@pytest.mark.parametrize("error_class", ["validation", "authentication", "permission", "configuration"])
def test_classes_that_fail_at_once(error_class: ErrorClass) -> None:
    failure = Failure(error_class, "no")
    assert RetryConfig().decide(failure, 1, 0.0, None, half) is None
    assert RetryConfig().why_no_retry(failure, 1) == f"errors of the class {error_class!r} are not tried again"


def test_attempts_are_counted() -> None:
    config, failure = RetryConfig(max_attempts=3), Failure("failure", "no")
    assert [config.decide(failure, n, 0.0, None, half) for n in (1, 2, 3)] == [0.5, 1.0, None]
    assert config.why_no_retry(failure, 3) == "3 of 3 attempts have failed"
    assert NO_RETRY.decide(failure, 1, 0.0, None, half) is None


def test_what_was_cancelled_is_never_tried_again_and_what_was_lost_always() -> None:
    cancelled, lost = Failure("cancelled", "no"), Failure("lost", "no")
    assert RetryConfig().decide(cancelled, 1, 0.0, None, half) is None
    assert RetryConfig().why_no_retry(cancelled, 1) == "it was cancelled"
    assert NO_RETRY.decide(lost, 0, 0.0, None, half) == 0.0
    assert NO_RETRY.decide(lost, 0, 10.0, 10.0, half) is None


def test_no_try_begins_after_the_total_timeout() -> None:
    config, failure = RetryConfig(jitter=False), Failure("timeout", "no")
    assert config.decide(failure, 1, 8.9, 10.0, half) == 1.0
    assert config.decide(failure, 1, 9.0, 10.0, half) is None
    assert config.why_no_retry(failure, 1) == "the next try would begin after the total timeout"
    assert config.decide(Failure("temporary", "no", retry_after_s=60.0), 1, 0.0, 30.0, half) is None


def test_types_of_exceptions_may_be_named() -> None:
    names: Any = ["KeyError", "timeout"]
    config = RetryConfig(retryable_errors=names)
    assert config.retryable_errors == {"KeyError", "timeout"}
    assert config.decide(Failure("failure", "no", "KeyError"), 1, 0.0, None, half) == 0.5
    assert config.decide(Failure("failure", "no", "IndexError"), 1, 0.0, None, half) is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_attempts": 0}, "max_attempts must be from 1 to"),
        ({"max_attempts": ATTEMPTS_MAX + 1}, "max_attempts must be from 1 to"),
        ({"max_attempts": 2.0}, "max_attempts must be a whole number"),
        ({"max_attempts": True}, "max_attempts must be a whole number"),
        ({"base_delay": -1.0}, "base_delay must be from 0"),
        ({"base_delay": "1s"}, "base_delay must be a number, and is '1s'"),
        ({"max_delay": float("inf")}, "max_delay must be a number, and is inf"),
        ({"max_delay": float("nan")}, "max_delay must be a number, and is nan"),
        ({"exponential_base": 0.5}, "exponential_base must be from 1 to 1000"),
        ({"exponential_base": True}, "exponential_base must be a number"),
        ({"retryable_errors": "timeout"}, "retryable_errors must be a set of names"),
        ({"retryable_errors": {"timeuot"}}, "retryable_errors names 'timeuot'"),
        ({"retryable_errors": {"zzz"}}, "retryable_errors names 'zzz'"),
        ({"retryable_errors": {"cancelled"}}, "never tried again"),
        ({"retryable_errors": {KeyError}}, "retryable_errors names"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRetryConfig, match=words) as caught:
        RetryConfig(**fields)
    assert isinstance(caught.value, UserError)
    assert isinstance(caught.value, ValueError)


def test_a_mistyped_class_is_answered_with_the_right_one() -> None:
    with pytest.raises(BadRetryConfig) as caught:
        RetryConfig(retryable_errors=frozenset({"timeuot"}))
    assert caught.value.hint == "did you mean 'timeout'?"


def test_whole_numbers_are_numbers_too() -> None:
    assert RetryConfig(base_delay=2, max_delay=8, exponential_base=3, jitter=False).delay_s(2, half) == 6
