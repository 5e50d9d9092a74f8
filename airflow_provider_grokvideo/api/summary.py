"""What the ledger stores of a submitted request: a summary, and a fingerprint that recognises it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote_plus

from airflow_provider_grokvideo.api.media import is_web_url, without_query

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.request import VideoRequest

_AZURE_SAS = frozenset(
    ("sv", "ss", "srt", "sp", "st", "se", "sr", "sig", "sip", "spr", "si", "skoid", "sktid", "skt", "ske", "sks", "skv",
     "saoid", "suoid", "scid", "ses", "sdd", "sduoid", "skdutid")
)  # fmt: skip
_SIGNATURES: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    # AWS Signature Version 2, as boto3 signs for older regions.
    (frozenset({"awsaccesskeyid", "signature"}), frozenset({"awsaccesskeyid", "signature", "expires"})),
    # Google Cloud Storage, version 2.
    (frozenset({"googleaccessid", "signature"}), frozenset({"googleaccessid", "signature", "expires"})),
    # CloudFront, with a canned or a custom policy.
    (frozenset({"key-pair-id", "signature"}), frozenset({"key-pair-id", "signature", "expires", "policy"})),
    # Azure shared access signature.
    (frozenset({"sig", "sv"}), _AZURE_SAS),
)
"""Query parameters that mark a signed URL, and those of its signature, in lower case."""
_SIGNED_PREFIXES = ("x-amz-", "x-goog-")
"""AWS Signature Version 4 and version 4 of Google Cloud Storage: every parameter with such a name."""


@dataclass(frozen=True)
class RequestSummary:
    """Facts about a submitted request for later steps, without signatures and images.

    :param model: the requested model.
    :param kind: ``generation``, ``edit`` or ``extension``.
    :param duration: requested seconds, ``None`` for an edit.
    :param uploads: whether the API uploads the video itself, so that it need not name a URL.
    :param inputs: paths and URLs of the images and videos that the request uses.
    """

    model: str
    kind: str = "generation"
    duration: int | None = None
    uploads: bool = False
    inputs: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: VideoRequest, model: str) -> Self:
        """Return the summary of a request.

        :param request: with the paths of its images.
        :param model: the model that is sent.
        """
        duration = request.duration if isinstance(request.duration, int) else None
        inputs = tuple(dict.fromkeys(_inputs(request)))
        return cls(model, request.kind, duration, bool(request.upload_url), inputs)

    @classmethod
    def from_json(cls, stored: object) -> Self | None:
        """Return the stored summary, ``None`` if there is no valid one."""
        if not isinstance(stored, Mapping) or not isinstance(stored.get("model"), str):
            return None
        duration, inputs = stored.get("duration"), stored.get("inputs")
        return cls(
            model=stored["model"],
            kind=str(stored.get("kind", "generation")),
            duration=duration if isinstance(duration, int) else None,
            uploads=bool(stored.get("uploads")),
            inputs=tuple(str(uri) for uri in inputs) if isinstance(inputs, list | tuple) else (),
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON primitives."""
        return {**asdict(self), "inputs": list(self.inputs)}


def fingerprint_request(request: VideoRequest) -> str:
    """Return a digest that is equal for two requests for the same video, in different attempts, too.

    It ignores signatures of URLs, which differ each time a URL is signed.

    :param request: with a model and with inlined images.
    """
    body = {name: value if name == "prompt" else _unsigned(value) for name, value in request.body().items()}
    return _digest([request.kind, body])


def fingerprint_address(base_url: str) -> str:
    """Return a digest of the API's address: an id is valid at one API only."""
    return _digest(base_url.rstrip("/").lower())


def strip_signature(url: str) -> str:
    """Return a URL without its signature: AWS, Google Cloud Storage, Azure SAS or CloudFront. All else stays."""
    address, question, query = url.partition("?")
    if not question:
        return url
    query, fragment_mark, fragment = query.partition("#")
    parameters = query.split("&")
    signed = _signature_of({_name(parameter) for parameter in parameters})
    kept = [parameter for parameter in parameters if not _is_signature(_name(parameter), signed)]
    if len(kept) == len(parameters):
        return url
    return f"{address}{question if kept else ''}{'&'.join(kept)}{fragment_mark}{fragment}"


def _inputs(request: VideoRequest) -> Iterator[str]:
    named = (request.image, getattr(request, "last_frame", None), request.video)
    keyframes = [frame.get("image") for frame in getattr(request, "keyframes", None) or ()]
    audios = [audio.get("url") for audio in getattr(request, "reference_audios", None) or ()]
    for media in (*named, *keyframes, *(request.reference_images or ()), *audios):
        uri = media.get("url") if isinstance(media, Mapping) else media
        # A data URI or a file stored at xAI has no name outside this request.
        if uri is not None and not str(uri).lstrip().lower().startswith("data:"):
            yield _without_secrets(str(uri).strip())


def _without_secrets(uri: str) -> str:
    """Return a URL without user and query. In a store, ``?`` may be part of a file's name."""
    if not uri.lower().startswith(("http:", "https:")):
        return uri
    scheme, separator, rest = without_query(uri).partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _unsigned(value: object) -> object:
    if isinstance(value, str):
        return strip_signature(value) if is_web_url(value) else value
    if isinstance(value, Mapping):
        return {key: _unsigned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_unsigned(item) for item in value]
    return value


def _signature_of(names: Collection[str]) -> frozenset[str]:
    return frozenset().union(*(parts for marks, parts in _SIGNATURES if marks <= set(names)))


def _is_signature(name: str, signed: frozenset[str]) -> bool:
    return name in signed or name.startswith(_SIGNED_PREFIXES)


def _name(parameter: str) -> str:
    return unquote_plus(parameter.partition("=")[0]).lower()


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
