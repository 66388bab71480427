"""What a user is told of a file that cannot be planned."""

from coterie_protocols.errors import InvalidWorkflow
from coterie_protocols.workflow.model import Problem


def problem_line(file: str, problem: Problem) -> str:
    """`file:line:column: message`, with `warning:` before the message of a warning."""
    at = f"{file}:{problem.position.line}:{problem.position.column}"
    message = "".join(_shown(character) for character in problem.message)
    return f"{at}: {'warning: ' if problem.severity == 'warning' else ''}{message}"


def _shown(character: str) -> str:
    """The character, escaped where it would break the line or command the terminal."""
    return character if character.isprintable() else repr(character)[1:-1]


class UnplannableWorkflow(InvalidWorkflow):
    """A file with errors. The message holds one line for each, `problems` the errors themselves."""

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        self.problems = tuple(problem for problem in problems if problem.severity == "error")
        super().__init__("\n".join(problem_line(file, problem) for problem in self.problems))
