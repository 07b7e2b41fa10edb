"""Everything this package raises on purpose.

* BackfillError
  x ConfigurationError     the settings contradict each other or are incomplete; fix them and start again
  x UsageError             what was asked for cannot be asked for; ask differently
  x TransientError         trying again may help
    - RateLimited          the service told us to wait; waiting is not a try
    - SourceUnreachable    no connection to the service; every other request will meet the same
    - TimedOut             the service took too long; a smaller request may do
    - CircuitOpen          the service failed too often in a row; nobody asks it before the pause is over
  x PermanentError         trying again cannot help
    - CredentialRefused    the service refused our credential; every other request will meet the same
    - UnexpectedResponse   the service answered something that its interface does not allow
      . NoSuchTable        the service has no such table; every other request for it will meet the same
      . ConditionIgnored   the service sent what was not asked for, or in another order
    - IncompleteRead       the service says that it holds more than it let us read
    - BudgetExhausted      the money that may be spent is spent; every other request will meet the same
  x RejectedRecord         one record is bad; quarantine it and go on

A message is one sentence or two: what happened, where, and what to do next. It never holds a secret.
"""


class BackfillError(Exception):
    """Anything that this package raises on purpose; `str()` of it is fit for a user's eyes."""


class ConfigurationError(BackfillError):
    """The settings contradict each other or are incomplete."""


class UsageError(BackfillError):
    """What was asked for does not exist or makes no sense."""


class TransientError(BackfillError):
    """Trying again may help."""


class RateLimited(TransientError):
    """The service told us to wait."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SourceUnreachable(TransientError):
    """No connection to the service could be made, or it broke each time."""


class TimedOut(TransientError):
    """The service took too long to answer; a smaller request may do."""


class CircuitOpen(TransientError):
    """The service failed too often in a row, in whichever process; it may be asked again in `retry_in` seconds."""

    def __init__(self, message: str, *, retry_in: float) -> None:
        super().__init__(message)
        self.retry_in = retry_in


class PermanentError(BackfillError):
    """Trying again cannot help."""


class CredentialRefused(PermanentError):
    """The service refused our credential (401 or 403)."""


class UnexpectedResponse(PermanentError):
    """The service answered something that its interface does not allow."""


class NoSuchTable(UnexpectedResponse):
    """The service has no such table."""


class ConditionIgnored(UnexpectedResponse):
    """The service sent what was not asked for, or in another order: nothing can be built on that."""


class IncompleteRead(PermanentError):
    """The service says that it holds more than it let us read."""


class BudgetExhausted(PermanentError):
    """The money that may be spent is spent, by whichever process."""


class RejectedRecord(BackfillError):
    """One record does not fit; the reason is in words."""
