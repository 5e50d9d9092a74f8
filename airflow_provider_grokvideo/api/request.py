"""Request for a video, validated before it is sent.

Fields and limits: the API page "Video Generation" of CometAPI, and xAI's REST reference for
``/v1/videos/generations``, ``/edits`` and ``/extensions``. What each model offers is in ``models.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, get_args

from airflow_provider_grokvideo.api.media import (
    Media,
    image_data_uri,
    is_path,
    media_to_json,
    validate_media,
)
from airflow_provider_grokvideo.api.models import DEFAULT_MODEL, DURATIONS, RESOLUTIONS, XAI_ASPECT_RATIOS, Kind
from airflow_provider_grokvideo.api.redaction import invalid_field
from airflow_provider_grokvideo.api.validation import (
    validate_audios,
    validate_choice,
    validate_duration,
    validate_extra,
    validate_flag,
    validate_image,
    validate_images,
    validate_keyframes,
    validate_storage_options,
    validate_text,
    validate_upload_url,
)

__all__ = ["DEFAULT_MODEL", "Kind", "VideoRequest"]

_PATHS: Mapping[Kind, str] = {"generation": "generations", "edit": "edits", "extension": "extensions"}
_GENERATION_ONLY = ("image", "last_frame", "keyframes", "reference_images", "reference_audios", "generate_audio")


@dataclass(frozen=True)
class VideoRequest:
    """Request for a video.

    :param prompt: what to show. ``None`` is allowed on xAI only, with an image.
    :param model: default: the connection's model, else ``grok-imagine-video``.
    :param duration: whole seconds, as any type of number or as digits in a string. Generation 1 to 15, default 8, up
        to 10 with reference images on ``grok-imagine-video``; extension 2 to 10, default 6; an edit has the
        duration of its source.
    :param aspect_ratio: ``1:1``, ``16:9``, ``9:16``, ``4:3``, ``3:4``, ``3:2``, ``2:3``; on xAI also ``21:9``
        and ``5:2``. Generation only.
    :param resolution: ``480p``, ``720p``, or ``1080p`` on the 1.5 models. Generation only.
    :param image: the image to animate: an http(s) URL, a data URI, ``{"file_id": …}`` of xAI, or a path (text or
        object) that ``ObjectStoragePath`` opens, up to 15 MiB. JPEG, PNG or WebP. Generation only.
    :param last_frame: the last image of the video, like ``image``. ``grok-imagine-video-1.5`` only.
    :param keyframes: up to 4 images between first and last frame, each ``{"image": …, "timestamp_s": seconds}``.
        ``grok-imagine-video-1.5`` only.
    :param reference_images: up to 7 images, each like ``image``: any list-like value, lazy XCom sequences included.
        Together with ``image`` on ``grok-imagine-video-1.5`` only.
    :param reference_audios: up to 3 voices, each ``{"voice_id": …}`` or ``{"url": …}``. Generation only.
    :param video: the video to edit or extend: an http(s) URL, a data URI or ``{"file_id": …}``. An edit takes up to
        8.7 seconds, an extension 2 to 15. Its length is unknown before the submission.
    :param generate_audio: ``False`` for a silent video. Generation only.
    :param upload_url: http(s) URL, signed for PUT, where the API uploads the finished video itself.
    :param storage_options: store the video at xAI, too: ``{"filename": …, "expires_after": seconds,
        "public_url": True}``. ``expires_after`` 3600 to 2592000, also a ``timedelta``.
    :param user: your own identifier of the end user. Not on extensions.
    :param extra: other fields of the API, sent unchanged.
    :param kind: ``generation`` (from text or images), ``edit`` or ``extension`` (both of ``video``).
    :raises InvalidRequestError: the message contains the field, the value and what to use instead.
    """

    prompt: str | None = None
    model: str | None = None
    duration: float | Decimal | str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    image: Media | None = None
    last_frame: Media | None = None
    keyframes: Iterable[Mapping[str, Any]] | None = None
    reference_images: Iterable[Media] | None = None
    reference_audios: Iterable[Mapping[str, str]] | None = None
    video: Media | None = None
    generate_audio: bool | str | None = None
    upload_url: str | None = None
    storage_options: Mapping[str, str | int | bool | timedelta | Mapping[str, Any]] | None = None
    user: str | None = None
    extra: Mapping[str, Any] | None = None
    kind: Kind = "generation"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise invalid_field("kind", self.kind, f"Use one of {', '.join(get_args(Kind))}.")
        for name in ("model", "user"):
            validate_text(name, getattr(self, name))
        self._set(duration=validate_duration(self.kind, self.duration))
        validate_choice("aspect_ratio", self.aspect_ratio, XAI_ASPECT_RATIOS)
        validate_choice("resolution", self.resolution, RESOLUTIONS)
        self._check_inputs()
        self._check_kind()
        self._check_prompt()
        validate_upload_url(self.upload_url)
        if self.storage_options is not None:
            self._set(storage_options=validate_storage_options(self.storage_options))
        self._set(extra=validate_extra(self.extra, [field.name for field in fields(self)]))

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> VideoRequest:
        """Return the request with these fields, e.g. from a decorated function.

        :raises InvalidRequestError: a field does not exist or is wrong.
        """
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise invalid_field(str(name), given[name], f"There is no such field. Use {', '.join(names)}.")
        return cls(**given)

    @property
    def images(self) -> dict[str, Media]:
        """Every input image by the name of its field, e.g. ``keyframes[0].image``."""
        found: dict[str, Media | None] = {"image": self.image, "last_frame": self.last_frame}
        found |= {f"keyframes[{index}].image": frame["image"] for index, frame in enumerate(self.keyframes or ())}
        found |= {f"reference_images[{index}]": media for index, media in enumerate(self.reference_images or ())}
        return {name: media for name, media in found.items() if media is not None}

    @property
    def model_name(self) -> str:
        """The model that the API uses: the request's, else the default."""
        return self.model or DEFAULT_MODEL

    def with_model(self, model: str | None) -> VideoRequest:
        """Return the same request with a model.

        :param model: the connection's model, for a request without one.
        """
        return self if self.model else replace(self, model=model or DEFAULT_MODEL)

    def with_inlined_images(self, read: Callable[[str, str], bytes]) -> VideoRequest:
        """Return the same request with every image path replaced by a data URI.

        :param read: returns at most ``MAX_IMAGE_BYTES`` bytes, from a path and the name of the field.
        :raises InvalidRequestError: the content is not a JPEG, PNG or WebP image, or is too large.
        """
        paths = {name: str(media) for name, media in self.images.items() if is_path(media)}
        if not paths:
            return self
        inlined = {name: image_data_uri(read(path, name), name=name, given=path) for name, path in paths.items()}
        return replace(
            self,
            image=inlined.get("image", self.image),
            last_frame=inlined.get("last_frame", self.last_frame),
            keyframes=[
                {**frame, "image": inlined.get(f"keyframes[{index}].image", frame["image"])}
                for index, frame in enumerate(self.keyframes or ())
            ],
            reference_images=[
                inlined.get(f"reference_images[{index}]", media)
                for index, media in enumerate(self.reference_images or ())
            ],
        )

    @property
    def path(self) -> str:
        """Path of the submission below the base URL."""
        return f"/videos/{_PATHS[self.kind]}"

    def body(self) -> dict[str, Any]:
        """Return the JSON object to post.

        :raises InvalidRequestError: an image is still a path.
        """
        for name, media in self.images.items():
            if is_path(media):
                raise invalid_field(name, media, "Read its content first (with_inlined_images).")
        body: dict[str, Any] = {
            "model": self.model_name,
            "prompt": self.prompt,
            "duration": self.duration,
            "aspect_ratio": self.aspect_ratio,
            "resolution": self.resolution,
            "image": media_to_json(self.image),
            "last_frame": media_to_json(self.last_frame),
            "keyframes": [{**frame, "image": media_to_json(frame["image"])} for frame in self.keyframes or ()] or None,
            "reference_images": [media_to_json(media) for media in self.reference_images or ()] or None,
            "reference_audios": list(self.reference_audios or ()) or None,
            "video": media_to_json(self.video),
            "generate_audio": self.generate_audio,
            "output": {"upload_url": self.upload_url} if self.upload_url else None,
            "storage_options": self.storage_options,
            "user": self.user,
        }
        return {**(self.extra or {}), **{name: value for name, value in body.items() if value is not None}}

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check_inputs(self) -> None:
        """Replace every input by its validated form: a text, a mapping, or a tuple."""
        for name in ("image", "last_frame"):
            if getattr(self, name) is not None:
                self._set(**{name: validate_image(name, getattr(self, name))})
        if self.keyframes is not None:
            longest = int(self.duration or DURATIONS["generation"].longest)
            self._set(keyframes=validate_keyframes(self.keyframes, longest) or None)
        if self.reference_images is not None:
            self._set(reference_images=validate_images(self.reference_images) or None)
        if self.reference_audios is not None:
            self._set(reference_audios=validate_audios(self.reference_audios) or None)
        if self.video is not None:
            self._set(video=validate_media("video", self.video, "video"))
        self._set(generate_audio=validate_flag("generate_audio", self.generate_audio))

    def _check_kind(self) -> None:
        if self.kind == "generation":
            if self.video is not None:
                raise invalid_field("video", self.video, "Leave it out of a generation, or use kind edit or extension.")
            return
        for name in ("aspect_ratio", "resolution"):
            if getattr(self, name) is not None:
                raise invalid_field(
                    name, getattr(self, name), f"Leave it out: an {self.kind} keeps the {name} of its video."
                )
        for name in _GENERATION_ONLY:
            if getattr(self, name) is not None:
                raise invalid_field(name, getattr(self, name), f"Leave it out of an {self.kind}.")
        if self.video is None:
            raise invalid_field("video", None, f"Use the video to {'edit' if self.kind == 'edit' else 'extend'}.")
        if self.kind == "extension" and self.user is not None:
            raise invalid_field("user", self.user, "Leave it out of an extension.")

    def _check_prompt(self) -> None:
        if self.prompt is None and self.images:
            return
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise invalid_field("prompt", self.prompt, "Use a text that is not empty.")
