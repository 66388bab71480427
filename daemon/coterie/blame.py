"""Finds out who is to blame for what came out of a nursery."""

from collections.abc import Iterator
from typing import cast

from coterie_protocols.errors import UserError


def user_error_in(error: BaseException) -> UserError | None:
    """The user's error behind `error`, if that is all there is: a full disk, a taken port. None for our own bugs."""
    leaves = list(_leaves(error))
    first = leaves[0]
    return first if isinstance(first, UserError) and all(isinstance(each, UserError) for each in leaves) else None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(each)
    else:
        yield error
