"""What is remembered of a submitted request: a summary of it, and a fingerprint that recognises it."""

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
"""Parameters by which a signed URL is recognised, and those that make up its signature. Compared in lower case."""
_SIGNED_PREFIXES = ("x-amz-", "x-goog-")
"""AWS Signature Version 4 and version 4 of Google Cloud Storage: every parameter with such a name."""


@dataclass(frozen=True)
class RequestSummary:
    """What later steps need to know of a submitted request. It holds no signature and no image.

    :param model: the model that was asked for.
    :param kind: ``generation``, ``edit`` or ``extension``.
    :param duration: seconds that were asked for, ``None`` for an edit.
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

        :param request: before its images are read, so that it still names their paths.
        :param model: the model that is sent.
        """
        duration = request.duration if isinstance(request.duration, int) else None
        inputs = tuple(dict.fromkeys(_inputs(request)))
        return cls(model, request.kind, duration, bool(request.upload_url), inputs)

    @classmethod
    def from_json(cls, stored: object) -> Self | None:
        """Return the stored summary, ``None`` where there is none that can be read."""
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
    """Return a digest by which two requests for the same video are recognised, across attempts.

    Signatures of URLs are left out: they are renewed whenever the URL is made.

    :param request: with its model settled and its images read.
    """
    body = {name: value if name == "prompt" else _unsigned(value) for name, value in request.body().items()}
    return _digest([request.kind, body])


def fingerprint_address(base_url: str) -> str:
    """Return a digest of the API's address: ids of one API mean nothing at another."""
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
        # A data URI or a file stored at xAI is nothing that somebody else could name.
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
