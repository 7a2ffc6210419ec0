"""The errors that advkeras raises on purpose; each message says what was received and what to do."""


class AdvkerasError(Exception):
    """Something could not be done; the command line prints it in one line and exits with 1."""

    exit_code = 1


class InvalidInputError(AdvkerasError, ValueError):
    """The caller's input cannot be used; the command line prints it in one line and exits with 2."""

    exit_code = 2
