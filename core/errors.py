"""What can go wrong, named by what the caller should do about it."""

from datetime import datetime

from core.model import Text


class CityhubError(Exception):
    """The root of every error this project raises on purpose."""


class ConfigError(CityhubError):
    """A setting is wrong. Print the one sentence, which says what to do, and exit with 2."""


class StartError(CityhubError):
    """Something the hub needs cannot be started. Print the sentence and exit with 1."""


class ImportRefusedError(CityhubError):
    """A file of city data has errors; nothing was imported. Mend the lines it names."""


class PayloadError(CityhubError):
    """A device sent what cannot be read. Quarantine it under ``code``, then acknowledge it.

    Attributes:
        code: The reason, stable and short, such as ``"not_json"``.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class StoreUnavailableError(CityhubError):
    """The database cannot be reached or gave no verdict. Try the same thing again, for ever."""


class StoreRejectedError(CityhubError):
    """The database refuses these data and always will. Bisect, then quarantine."""


class LeaseLostError(CityhubError):
    """Another worker took over this source. Drop the batch and start anew; never retry."""


class ConflictError(CityhubError):
    """Somebody else acted first, or the state forbids the action. Show who and what.

    Attributes:
        text: The sentence for the member of staff.
        by: Who was first; empty where nobody was.
        at: When, aware, UTC.
    """

    def __init__(self, text: Text | str, *, by: str = "", at: datetime | None = None) -> None:
        self.text = text if isinstance(text, Text) else Text(text, text)
        self.by = by
        self.at = at
        super().__init__(self.text.en)


class ForbiddenError(ConflictError):
    """Whoever asks may not do this; somebody with another role may."""


class NotFoundError(CityhubError):
    """There is no such thing.

    Attributes:
        text: The sentence for the member of staff.
    """

    def __init__(self, text: Text | str) -> None:
        self.text = text if isinstance(text, Text) else Text(text, text)
        super().__init__(self.text.en)


class RefusedError(CityhubError):
    """What is asked for cannot be, whoever asks and whenever. Show why.

    Attributes:
        text: The sentence for the member of staff: what is wrong, and what would do.
    """

    def __init__(self, text: Text) -> None:
        self.text = text
        super().__init__(text.en)


class DispatchFailedError(CityhubError):
    """The city's platform did not take it this time. Try again later, with the same key.

    Attributes:
        retry_after_s: How long the platform asked to be left alone, in seconds; None: it did not.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DispatchRefusedError(CityhubError):
    """The city's platform will never take it. Dead letter, shown to a person."""
