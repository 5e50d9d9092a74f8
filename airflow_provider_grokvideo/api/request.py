"""What may be asked of the API, checked before it is asked.

Fields and limits: the API page "Video Generation" of CometAPI, and xAI's REST reference for
``/v1/videos/generations``, ``/edits`` and ``/extensions``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from airflow_provider_grokvideo.api.media import (
    Media,
    checked_media,
    image_data_uri,
    invalid,
    is_path,
    is_web_url,
    wire_media,
    without_query,
)

Kind = Literal["generation", "edit", "extension"]

DEFAULT_MODEL = "grok-imagine-video"
ASPECT_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
XAI_ASPECT_RATIOS = (*ASPECT_RATIOS, "21:9", "5:2")
RESOLUTIONS = ("480p", "720p", "1080p")
MAX_REFERENCE_IMAGES = 7

_PATHS: Mapping[Kind, str] = {"generation": "generations", "edit": "edits", "extension": "extensions"}
_DURATIONS: Mapping[Kind, tuple[int, int, int]] = {"generation": (1, 15, 8), "extension": (1, 10, 6)}
"""Shortest, longest and default duration in seconds."""
_RESERVED = frozenset(
    {
        "prompt",
        "model",
        "duration",
        "seconds",
        "aspect_ratio",
        "resolution",
        "image",
        "reference_images",
        "video",
        "output",
        "upload_url",
        "user",
        "kind",
    }
)


@dataclass(frozen=True)
class VideoRequest:
    """One request for a video.

    :param prompt: what to show. May be ``None`` only where an image is animated, and only on xAI.
    :param kind: ``generation`` (from text or images), ``edit`` or ``extension`` (both of ``video``).
    :param model: default: the connection's model, else ``grok-imagine-video``.
    :param duration: whole seconds, also as digits in a string. Generation 1 to 15, default 8, up to 10 with
        reference images on ``grok-imagine-video``; extension 1 to 10, default 6; an edit keeps its source's.
    :param aspect_ratio: ``1:1``, ``16:9``, ``9:16``, ``4:3``, ``3:4``, ``3:2``, ``2:3``; on xAI also ``21:9``
        and ``5:2``. Generation only.
    :param resolution: ``480p``, ``720p``, or ``1080p`` on the 1.5 models. Generation only.
    :param image: the image to animate: an http(s) URL, a data URI, ``{"file_id": …}`` of xAI, or a path that
        ``ObjectStoragePath`` opens, up to 15 MiB. Generation only.
    :param reference_images: up to 7 images, each like ``image``; not together with ``image``.
    :param video: the video to edit or extend: an http(s) URL, a data URI or ``{"file_id": …}``.
    :param upload_url: http(s) URL, signed for PUT, where the API uploads the finished video itself.
    :param user: your own identifier of the end user. Not on extensions.
    :param extra: fields the API may know and this class does not, sent as they are.
    :raises InvalidRequestError: names the field, the value and what is allowed.
    """

    prompt: str | None = None
    kind: Kind = "generation"
    model: str | None = None
    duration: int | str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    image: Media | None = None
    reference_images: tuple[Media, ...] | list[Media] | None = None
    video: Media | None = None
    upload_url: str | None = None
    user: str | None = None
    extra: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise invalid("kind", self.kind, f"one of {', '.join(get_args(Kind))}")
        for name in ("model", "user"):
            _check_text(name, getattr(self, name))
        self._set(duration=_duration(self.kind, self.duration))
        self._check_look()
        self._check_media()
        self._check_prompt()
        if self.upload_url is not None and not is_web_url(self.upload_url):
            raise invalid("upload_url", without_query(self.upload_url), "an http(s) URL signed for PUT")
        self._set(extra=_checked_extra(self.extra))

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> VideoRequest:
        """A request from a mapping of its fields, e.g. what a decorated function returned.

        :raises InvalidRequestError: for a field that does not exist, besides what the constructor refuses.
        """
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise invalid(str(name), given[name], f"no such field; the fields are {', '.join(names)}")
        return cls(**given)

    def with_defaults(self, model: str | None) -> VideoRequest:
        """The same request with its model settled.

        :param model: the connection's model, used where the request names none.
        """
        return self if self.model else replace(self, model=model or DEFAULT_MODEL)

    def with_images_read(self, read: Callable[[str, str], bytes]) -> VideoRequest:
        """The same request with every image path replaced by a data URI.

        :param read: returns the bytes at a path, ``MAX_IMAGE_BYTES`` at most; gets the field's name, too.
        :raises InvalidRequestError: where the content is not an image or is too large.
        """

        def inline(name: str, media: Media) -> Media:
            if not is_path(media):
                return media
            return image_data_uri(read(str(media), name), name=name, given=str(media))

        image = None if self.image is None else inline("image", self.image)
        references = enumerate(self.reference_images or ())
        return replace(
            self,
            image=image,
            reference_images=[inline(f"reference_images[{index}]", media) for index, media in references],
        )

    @property
    def path(self) -> str:
        """Where this kind is posted, below the base URL."""
        return f"/videos/{_PATHS[self.kind]}"

    def body(self) -> dict[str, Any]:
        """The JSON object to post.

        :raises InvalidRequestError: where an image is still a path.
        """
        for media in (self.image, *(self.reference_images or ())):
            if media is not None and is_path(media):
                raise invalid("image", media, "a path must be read first (with_images_read)")
        body: dict[str, Any] = {
            "model": self.model or DEFAULT_MODEL,
            "prompt": self.prompt,
            "duration": self.duration,
            "aspect_ratio": self.aspect_ratio,
            "resolution": self.resolution,
            "image": wire_media(self.image),
            "reference_images": [wire_media(media) for media in self.reference_images or ()] or None,
            "video": wire_media(self.video),
            "output": {"upload_url": self.upload_url} if self.upload_url else None,
            "user": self.user,
        }
        return {**(self.extra or {}), **{name: value for name, value in body.items() if value is not None}}

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check_prompt(self) -> None:
        animates = self.kind == "generation" and (self.image is not None or self.reference_images)
        if self.prompt is None and animates:
            return
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise invalid("prompt", self.prompt, "a text that is not empty")

    def _check_look(self) -> None:
        for name, allowed in (("aspect_ratio", XAI_ASPECT_RATIOS), ("resolution", RESOLUTIONS)):
            value = getattr(self, name)
            if value is None:
                continue
            if self.kind != "generation":
                raise invalid(name, value, f"nothing: an {self.kind} keeps that of its video")
            if value not in allowed:
                raise invalid(name, value, f"one of {', '.join(allowed)}")

    def _check_media(self) -> None:
        references = self.reference_images
        if references is not None:
            if not isinstance(references, list | tuple) or len(references) > MAX_REFERENCE_IMAGES:
                raise invalid("reference_images", references, f"a list of up to {MAX_REFERENCE_IMAGES} images")
            checked = (checked_media(f"reference_images[{i}]", media, "image") for i, media in enumerate(references))
            self._set(reference_images=tuple(checked) or None)
        if self.image is not None:
            self._set(image=checked_media("image", self.image, "image"))
            if self.reference_images:
                raise invalid("reference_images", references, "nothing beside image")
        if self.kind == "generation":
            if self.video is not None:
                raise invalid("video", self.video, "nothing: kind must be edit or extension")
            return
        for name in ("image", "reference_images"):
            if getattr(self, name) is not None:
                raise invalid(name, getattr(self, name), f"nothing on an {self.kind}")
        if self.video is None:
            raise invalid("video", None, f"the video to {'edit' if self.kind == 'edit' else 'extend'}")
        self._set(video=checked_media("video", self.video, "video"))
        if self.kind == "extension" and self.user is not None:
            raise invalid("user", self.user, "nothing on an extension")


def check_offered(request: VideoRequest, *, xai: bool) -> None:
    """Refuse what the chosen API or model is known not to offer.

    :param request: a request whose model is settled.
    :param xai: whether the address speaks xAI's own API rather than CometAPI's.
    :raises InvalidRequestError: with the reason.
    """
    model = request.model or DEFAULT_MODEL
    classic = model == DEFAULT_MODEL
    if request.resolution == "1080p" and classic:
        raise invalid("resolution", "1080p", f"480p or 720p on {model}; 1080p needs a 1.5 model")
    if request.kind != "generation" and model.startswith("grok-imagine-video-1.5"):
        raise invalid("model", model, f"{DEFAULT_MODEL}: no other model offers an {request.kind}")
    if request.reference_images and classic and int(request.duration or 0) > 10:
        raise invalid("duration", request.duration, f"1 to 10 with reference_images on {model}")
    if xai:
        return
    if request.aspect_ratio is not None and request.aspect_ratio not in ASPECT_RATIOS:
        raise invalid(
            "aspect_ratio",
            request.aspect_ratio,
            f"one of {', '.join(ASPECT_RATIOS)} on CometAPI; only xAI has more",
        )
    if request.prompt is None:
        raise invalid("prompt", None, "a text that is not empty: only xAI animates an image without one")
    references = {f"reference_images[{i}]": media for i, media in enumerate(request.reference_images or ())}
    for name, media in {"image": request.image, "video": request.video, **references}.items():
        if isinstance(media, Mapping):
            raise invalid(name, media, "a URL or data URI on CometAPI; only xAI stores files")


def _check_text(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise invalid(name, value, "a text that is not empty, or nothing")


def _duration(kind: Kind, value: object) -> int | None:
    if kind == "edit":
        if value is not None:
            raise invalid("duration", value, "nothing: an edit keeps that of its video")
        return None
    shortest, longest, default = _DURATIONS[kind]
    if value is None:
        return default
    seconds = int(value) if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10 else value
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not shortest <= seconds <= longest:
        raise invalid("duration", value, f"whole seconds from {shortest} to {longest}")
    return seconds


def _checked_extra(extra: object) -> dict[str, Any] | None:
    if extra is None:
        return None
    if not isinstance(extra, Mapping) or not all(isinstance(key, str) for key in extra):
        raise invalid("extra", extra, "a mapping of further fields of the request")
    for name in extra:
        if name in _RESERVED:
            raise invalid(f"extra[{name!r}]", extra[name], "fields that have no argument of their own")
    try:
        json.dumps(dict(extra), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid("extra", extra, f"values that JSON can hold ({error})") from None
    if "size" in extra:
        warnings.warn("The API deprecates size; use aspect_ratio and resolution instead.", FutureWarning, stacklevel=4)
    return dict(extra) or None
