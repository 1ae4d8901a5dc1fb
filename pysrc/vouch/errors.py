"""The one exception that a user sees as a message instead of a traceback."""


class VouchError(Exception):
    """Something the user can mend: the message is one line naming file, line or utterance, reason and fix."""
