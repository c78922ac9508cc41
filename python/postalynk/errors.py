"""Every exception Postalynk raises on purpose.

    PostalynkError
    ├── SettingsError        a key of the configuration, its value and what would be right
    ├── ControlError         an operator's request that cannot be carried out
    │   └── NotRunning       the command needs a running `postalynk up`
    ├── EngineError          misuse of the engine, its shutdown, or an I/O failure below it
    ├── QueueError           the queue cannot take or give records
    │   └── QueueLocked      another process owns the embedded queue
    ├── StorageError         PostgreSQL is out of reach or answers wrongly
    ├── PolicyError          a policy that cannot be loaded
    ├── MessageError         a value that cannot stand in a message (also a ValueError)
    ├── TemplateError        a template, or what it is filled with (also a ValueError)
    └── SigningError         what cannot sign or be signed (also a ValueError)

What a receiver replied is never an exception: it is an outcome. What an API caller did wrong is a
list of problems (`postalynk.ingest`), not an exception either.
"""


class PostalynkError(Exception):
    """The root; `fix` says what to do about it, in one sentence."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} ({self.fix})" if self.fix else self.message


class SettingsError(PostalynkError):
    """A setting is unknown or wrong; the message names key, value and file or variable."""


class ControlError(PostalynkError):
    """An operator's request that cannot be carried out."""


class NotRunning(ControlError):
    """The command needs a running Postalynk and none answers."""


class QueueError(PostalynkError):
    """The queue cannot take or give records."""


class QueueLocked(QueueError):
    """Another process owns the embedded queue; the message names it."""


class EngineError(PostalynkError):
    """Misuse of the engine, its shutdown, or an I/O failure below it."""


class StorageError(PostalynkError):
    """PostgreSQL is out of reach or answers wrongly."""


class PolicyError(PostalynkError):
    """A policy that cannot be loaded; the message names file and line."""


class MessageError(PostalynkError, ValueError):
    """A value that cannot stand in a message, after its field: ``to[0]: has no @``."""


class TemplateError(PostalynkError, ValueError):
    """A template that is none, or cannot be filled with what is given.

    `part` is ``subject``, ``html`` or ``text``, empty for the variables as a whole; `is_source`:
    the template itself is wrong, whatever it is filled with.
    """

    def __init__(self, message: str, fix: str, part: str, is_source: bool) -> None:
        super().__init__(message, fix=fix)
        self.part = part
        self.is_source = is_source


class SigningError(PostalynkError, ValueError):
    """A key, a domain, a selector or a message that cannot sign or be signed."""
