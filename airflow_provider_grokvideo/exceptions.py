"""Errors that this package raises, sorted by what the caller can do about them.

::

    GrokVideoError
     ├── InvalidRequestError (also ValueError)
     ├── LedgerError
     │    └── LedgerEntryError
     ├── StorageError
     ├── ApiError
     │    ├── AuthenticationError
     │    ├── InsufficientQuotaError
     │    ├── RateLimitError
     │    ├── RequestRejectedError
     │    ├── GenerationNotFoundError
     │    └── ServerError
     ├── TransportError
     ├── SubmissionUnknownError
     ├── GenerationError
     │    ├── GenerationFailedError
     │    ├── GenerationModeratedError
     │    ├── GenerationExpiredError
     │    └── GenerationTimeoutError
     └── DownloadError

``retryable`` says whether a retry of the task can help while nothing is paid for. After the submission was accepted,
every error but a final state of the generation itself is worth a retry: the retry resumes the generation and does not
pay again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.generation import Generation

FINAL_FAILURE_CODES = frozenset(
    {"invalid_argument", "failed_precondition", "permission_denied", "out_of_range", "unimplemented", "invalid_request"}
)
"""Codes of a failed generation whose request must change. All other codes, and no code, can pass."""


def is_final_failure(code: str) -> bool:
    """Return whether the same request would fail again.

    :param code: ``error_code`` of a failed generation.
    """
    return code.strip().lower().replace("-", "_").replace(" ", "_") in FINAL_FAILURE_CODES


def sentence(text: str) -> str:
    """Return a text, e.g. the API's own message, with one full stop at its end."""
    text = text.rstrip(". ")
    return text if text.endswith(("!", "?", "…")) else f"{text}."


class GrokVideoError(Exception):
    """Base class of all errors that this package raises.

    Raised itself if a wait ends because polls keep failing. The generation continues and is
    billed. A retry resumes it.
    """

    retryable: bool = True


class InvalidRequestError(GrokVideoError, ValueError):
    """Error of a wrong field, argument or connection, found before anything is sent.

    Nothing was billed. A retry does not help: the field must change.
    """

    retryable = False


class LedgerError(GrokVideoError):
    """Error of a ledger that cannot be read or written now.

    Nothing was submitted by the attempt that raises it. A retry helps.
    """


class LedgerEntryError(LedgerError):
    """Error of a ledger whose content is not an entry, or is an entry of a newer release.

    Nothing was submitted. A retry does not help: the file must be removed, or the package be upgraded.
    """

    retryable = False


class StorageError(GrokVideoError):
    """Temporary error of a store, before the submission.

    Nothing was billed. A retry helps.
    """


class ApiError(GrokVideoError):
    """Base class of errors that the API returned.

    A submission that the API rejects is not billed. Whether a retry helps depends on the subclass.

    :param message: the API's message, without the key.
    :param status: HTTP status code.
    :param code: the API's own error code, ``""`` if it gave none.
    :param request_id: the generation that was polled, if any.
    :param what: what happened, before the API's message.
    :param advice: sentences after it: what was billed, and what to do.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        request_id: str | None = None,
        what: str = "",
        advice: str = "",
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
                f"request_id {request_id}" if request_id and request_id not in what else "",
            )
            if part
        )
        details = f" ({details})" if details else ""
        text = sentence(f"{what}{details}: {message}") if what else f"{message}{details}"
        super().__init__(f"{text} {advice}" if advice else text)


class AuthenticationError(ApiError):
    """Error of a key that is missing, rejected, or not allowed to do this.

    Nothing was billed by this call. A retry does not help before the connection's key is corrected.
    """

    retryable = False


class InsufficientQuotaError(ApiError):
    """Error of an account that is out of credit or has reached its spending limit.

    Nothing was billed. A retry does not help before the account is topped up.
    """

    retryable = False


class RateLimitError(ApiError):
    """Error of too many requests.

    Nothing was billed. A retry helps.

    :param retry_after: seconds that the API asks to wait, ``None`` if it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = 429,
        code: str = "",
        request_id: str | None = None,
        what: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message, status=status, code=code, request_id=request_id, what=what, advice=advice)
        self.retry_after = retry_after


class RequestRejectedError(ApiError):
    """Error of a request that the API rejects as it is: bad field, unknown model, wrong address.

    Nothing was billed. A retry does not help: the request or the connection must change.
    """

    retryable = False


class GenerationNotFoundError(ApiError):
    """Error of a poll for a ``request_id`` that the API does not know, or no longer, or not with this key.

    Nothing was billed by this call. A retry does not help: the id or the connection must change.
    """

    retryable = False


class ServerError(ApiError):
    """Error of an API that failed while it was polled, or whose response cannot be read.

    Nothing was billed by this call; a submission that ends so is a ``SubmissionUnknownError``. A retry helps.
    """


class TransportError(GrokVideoError):
    """Error of a request without a response.

    Nothing was billed by this call; a submission that may have been delivered is a ``SubmissionUnknownError``. A retry
    helps.

    :param delivered: ``False`` if the request certainly did not reach the API, ``True`` if it may have.
    :param reason: what the transport said, a part of the message.
    """

    def __init__(self, message: str, *, delivered: bool, reason: str = "") -> None:
        super().__init__(message)
        self.delivered = delivered
        self.reason = reason


class SubmissionUnknownError(GrokVideoError):
    """Error of a submission with an unknown outcome: the API may have accepted it.

    The generation may be billed. A retry does not help: a person must look it up, or choose to submit again.
    """

    retryable = False


class GenerationError(GrokVideoError):
    """Base class of errors of a submitted generation without a video.

    Whether the generation is billed is the API's decision, see ``cost_usd``. Whether a retry helps depends on the
    subclass.

    :param request_id: the generation.
    :param code: the API's error code, if it gave one.
    :param cost_usd: the cost that the API reports, as a decimal string, if it reports one.
    """

    def __init__(self, message: str, *, request_id: str, code: str = "", cost_usd: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.code = code
        self.cost_usd = cost_usd

    @staticmethod
    def from_generation(generation: Generation) -> GenerationError:
        """Return the error of a generation that ended without a video."""
        kind, what = _BY_STATE[generation.state]
        cost = None if generation.cost_usd is None else format(generation.cost_usd, "f")
        reason = generation.error_message or "the API gives no reason"
        # The default reason of the API repeats the state.
        reason = "" if what.removeprefix("was ") in reason else f": {reason}"
        code = f" (code {generation.error_code})" if generation.error_code else ""
        bill = f"It cost {cost} USD." if cost is not None else "It may be billed."
        if generation.state == "moderated":
            advice = (
                "The API would reject the same request again: change the prompt or the inputs, then clear this task."
            )
        elif generation.state == "failed" and is_final_failure(generation.error_code):
            advice = "The same request would fail again: change it, then clear this task."
        else:
            advice = "A retry checks once more; if the generation has still failed, it submits and pays for a new one."
        return kind(
            f"{sentence(f'Generation {generation.request_id} {what}{code}{reason}')} {bill} {advice}",
            request_id=generation.request_id,
            code=generation.error_code,
            cost_usd=cost,
        )


class GenerationFailedError(GenerationError):
    """Error of a generation that the API could not finish.

    The API may bill it. A retry submits a new generation and can help, unless the code is final.
    """

    @property
    def retryable(self) -> bool:  # type: ignore[override]
        """Whether the same request can succeed."""
        return not is_final_failure(self.code)


class GenerationModeratedError(GenerationError):
    """Error of a generation that the API's content moderation rejected.

    The API may bill it. A retry does not help: the prompt must change.
    """

    retryable = False


class GenerationExpiredError(GenerationError):
    """Error of a generation that expired at the API before it was done.

    The API may bill it. A retry submits a new generation and can help.
    """


class GenerationTimeoutError(GenerationError):
    """Error of a wait that reached its timeout before the generation was final.

    The generation continues and is billed. A retry resumes it.
    """


class DownloadError(GrokVideoError):
    """Error of a finished video that could not be downloaded, verified or saved.

    The video is billed. A retry downloads it again and does not pay again.
    """


_BY_STATE: Mapping[str, tuple[type[GenerationError], str]] = {
    "failed": (GenerationFailedError, "failed"),
    "expired": (GenerationExpiredError, "expired"),
    "moderated": (GenerationModeratedError, "was rejected by content moderation"),
}
