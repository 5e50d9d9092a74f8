"""What can go wrong, sorted by what the caller can do about it.

Each class says in ``retryable`` whether a retry of the task can help. Where a generation is paid for, every error but a
verdict on that generation is worth a retry: it resumes the generation and does not pay again.
"""

from __future__ import annotations

FINAL_FAILURE_CODES = frozenset(
    {"invalid_argument", "failed_precondition", "permission_denied", "out_of_range", "unimplemented", "invalid_request"}
)
"""Codes of a failed generation whose request must change. All others, and no code, can pass."""


def is_final_failure(code: str) -> bool:
    """Return whether the same request would fail again.

    :param code: ``error_code`` of a failed generation.
    """
    return code.strip().lower().replace("-", "_").replace(" ", "_") in FINAL_FAILURE_CODES


class GrokVideoError(Exception):
    """Base of every error this package raises on purpose."""

    retryable: bool = True


class InvalidRequestError(GrokVideoError, ValueError):
    """A field of the request is wrong. Nothing was sent."""

    retryable = False


class LedgerError(GrokVideoError):
    """The ledger cannot be read or written now. Nothing was submitted."""


class LedgerEntryError(LedgerError):
    """The ledger holds something that is no entry, or one of a newer release. Nothing was submitted."""

    retryable = False


class StorageError(GrokVideoError):
    """A passing fault of a store, before the submission. Nothing was billed, and a retry can help."""


class ApiError(GrokVideoError):
    """The API answered, and the answer is an error.

    :param message: what the API said, without the key.
    :param status: HTTP status code of the answer.
    :param code: the API's own error code, ``""`` where it gave none.
    :param request_id: the generation that was asked about, where there is one.
    """

    def __init__(
        self, message: str, *, status: int | None = None, code: str = "", request_id: str | None = None
    ) -> None:
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        details = ", ".join(
            part
            for part in (
                f"HTTP {status}" if status is not None else "",
                f"code {code}" if code else "",
                f"request_id {request_id}" if request_id else "",
            )
            if part
        )
        super().__init__(f"{message} ({details})" if details else message)


class AuthenticationError(ApiError):
    """The key is missing, refused, or may not do this."""

    retryable = False


class InsufficientQuotaError(ApiError):
    """The account is out of credit or has reached its spending limit."""

    retryable = False


class RateLimitError(ApiError):
    """Too many requests.

    :param retry_after: seconds the API asks to wait, ``None`` where it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = 429,
        code: str = "",
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, request_id=request_id)
        self.retry_after = retry_after


class RequestRejectedError(ApiError):
    """The API refused the request as it stands: bad field, unknown model, wrong address."""

    retryable = False


class GenerationNotFoundError(ApiError):
    """The API does not know this ``request_id`` (any more, or with this key)."""

    retryable = False


class ServerError(ApiError):
    """The API failed, or its answer cannot be read."""


class TransportError(GrokVideoError):
    """No answer arrived.

    :param delivered: ``False`` when the request certainly did not reach the API, ``True`` when it may have.
    """

    def __init__(self, message: str, *, delivered: bool) -> None:
        super().__init__(message)
        self.delivered = delivered


class SubmissionUnknownError(GrokVideoError):
    """A generation was requested and it cannot be known whether the API accepted, and bills, it."""

    retryable = False


class GenerationError(GrokVideoError):
    """A submitted generation did not end in a video.

    :param request_id: the generation.
    :param code: the API's error code, where it gave one.
    :param cost_usd: what the API says it cost, as a decimal string, where it says so.
    """

    def __init__(self, message: str, *, request_id: str, code: str = "", cost_usd: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.code = code
        self.cost_usd = cost_usd


class GenerationFailedError(GenerationError):
    """The API could not generate the video. Submitting again may succeed, unless the code is final."""

    @property
    def retryable(self) -> bool:  # type: ignore[override]
        """Whether the same request can succeed."""
        return not is_final_failure(self.code)


class GenerationModeratedError(GenerationError):
    """The API's content moderation refused the video. Submitting the same again will not help."""

    retryable = False


class GenerationExpiredError(GenerationError):
    """The API gave the generation up before it was done."""


class GenerationTimeoutError(GenerationError):
    """The wait ended before the generation did. The generation goes on, and can be resumed."""


class DownloadError(GrokVideoError):
    """A finished video could not be brought to its destination. It can be fetched again."""
