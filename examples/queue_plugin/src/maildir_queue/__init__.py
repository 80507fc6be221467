"""`maildir://`: a queue that keeps each event as a file in a directory."""

from .queue import MaildirOptions, MaildirQueue

__all__ = ["MaildirOptions", "MaildirQueue"]
