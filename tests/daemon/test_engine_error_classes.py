"""Classes of exit codes and statuses, Retry-After, bounded texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.engine.error_classes import (
    ERROR_CLASSES,
    RETRY_AFTER_S_MAX,
    ConfigurationFailure,
    ErrorClass,
    ExitFailed,
    StepFailed,
    TemporaryFailure,
    ValidationFailure,
    class_of_exit,
    class_of_status,
    parse_retry_after,
    shortened,
)

NOW_S = 1_795_284_000.0  # Sat, 21 Nov 2026 18:00:00 GMT


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (1, "failure"),
        (65, "validation"),
        (75, "temporary"),
        (77, "permission"),
        (78, "configuration"),
        (124, "timeout"),
        (126, "configuration"),
        (127, "configuration"),
        (137, "failure"),
        (-9, "failure"),
    ],
)
def test_exit_codes(code: int, error_class: ErrorClass) -> None:
    assert class_of_exit(code) == error_class
    assert ExitFailed("it ended", code).error_class == error_class


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (302, "configuration"),
        (400, "validation"),
        (401, "authentication"),
        (403, "permission"),
        (404, "validation"),
        (407, "authentication"),
        (408, "temporary"),
        (425, "temporary"),
        (429, "temporary"),
        (500, "server"),
        (501, "configuration"),
        (503, "server"),
    ],
)
def test_http_statuses(status: int, error_class: ErrorClass) -> None:
    assert class_of_status(status) == error_class


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 5000, RETRY_AFTER_S_MAX),
        ("Sat, 21 Nov 2026 18:01:30 GMT", 90.0),
        ("Saturday, 21-Nov-26 18:01:30 GMT", 90.0),
        ("Sat, 21 Nov 2026 17:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2099 17:00:00 GMT", RETRY_AFTER_S_MAX),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
        ("soon", None),
        ("Sat, 99 Nov 2026 18:01:30 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW_S) == seconds


def test_a_date_needs_the_time_of_day() -> None:
    assert parse_retry_after("Sat, 21 Nov 2026 18:01:30 GMT", None) is None
    assert parse_retry_after("90", None) == 90.0


@given(st.text())
def test_any_header_is_a_bounded_wait_or_none(text: str) -> None:
    seconds = parse_retry_after(text, NOW_S)
    assert seconds is None or 0.0 <= seconds <= RETRY_AFTER_S_MAX


@given(st.text(st.characters()), st.integers(100, 200))
def test_a_shortened_text_is_utf8_and_keeps_both_ends(text: str, limit: int) -> None:
    result = shortened(text, limit)
    result.encode()
    if text.isascii():
        assert len(result) <= max(limit, len(text) if len(text) <= limit else 0)
        if len(text) > limit:
            assert result.startswith(text[: limit // 4])
            assert result.endswith(text[-20:])


def test_what_is_left_out_is_said() -> None:
    assert shortened("a" * 50 + "b" * 1000 + "c" * 50, 100) == (
        "a" * 25 + "\n... 1000 characters left out ...\n" + "c" * (100 - 25 - 34)
    )


def test_failures_that_people_raise() -> None:
    raised: list[StepFailed] = [
        StepFailed("as it is"),
        TemporaryFailure("busy", retry_after_s=3.0),
        ValidationFailure("no number"),
        ConfigurationFailure("no such file", detail=""),
    ]
    assert [each.error_class for each in raised] == ["failure", "temporary", "validation", "configuration"]
    assert [each.detail for each in raised] == [None, None, None, ""]
    assert raised[1].retry_after_s == 3.0


def test_the_words_are_as_agreed() -> None:
    assert len(ERROR_CLASSES) == 11
    assert "lost" in ERROR_CLASSES
