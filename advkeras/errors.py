"""The errors that advkeras raises on purpose; each message says what was received and what to do."""


class AdvkerasError(Exception):
    """Something could not be done; the command line prints it in one line and exits with 1."""

    exit_code = 1


class InvalidInputError(AdvkerasError, ValueError):
    """The caller's input cannot be used; the command line prints it in one line and exits with 2."""

    exit_code = 2


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says; its type's name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
