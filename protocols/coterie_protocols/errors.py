"""Errors by who is to blame: `BadMessage` a peer, `UserError` the user; anything else is our own bug."""


class BadMessage(Exception):
    """A peer sent bytes that break the protocol: drop them, count them, go on."""


class UserError(Exception):
    """The user asked for what cannot be; the text says why and what to do next.

    `code` is a stable identifier for machines, `hint` the next step for people.
    """

    code = "usage"
    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotAllowed(UserError):
    """This peer's roles do not permit the request."""

    code = "not-allowed"
    exit_code = 4


class NotFound(UserError):
    """Nothing has that id, or more than one thing begins with it."""

    code = "not-found"
    exit_code = 5


class InvalidWorkflow(UserError):
    """The workflow file cannot be planned; the message holds every problem with file, line and column."""

    code = "invalid-workflow"
    exit_code = 65


class TryLater(UserError):
    """The request is fine but there is no room or no contact now."""

    code = "try-later"
    exit_code = 75
