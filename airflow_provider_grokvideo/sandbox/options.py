"""Options of a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import ssl

Envelope = Literal["raw", "wrapped", "xai"]
ENVELOPES: tuple[str, ...] = get_args(Envelope)


@dataclass(frozen=True)
class Options:
    """Options of one sandbox, from the command line or from the arguments of ``Sandbox``."""

    host: str = "127.0.0.1"
    port: int = 0
    render_seconds: float = 0.2
    api_key: str = "sandbox-key"
    envelope: Envelope = "raw"
    rate_limit: float | None = None
    seed: int | None = None
    video_origin: str | None = None
    url_lifetime: float = 3600.0
    ssl_context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        """Validate the options."""
        if self.envelope not in ENVELOPES:
            raise ValueError(f"envelope is {self.envelope!r}; it must be one of {', '.join(ENVELOPES)}")
        if self.rate_limit is not None and self.rate_limit <= 0:
            raise ValueError(f"rate_limit is {self.rate_limit!r}; it must be more than 0, or None")
        if self.render_seconds < 0:
            raise ValueError(f"render_seconds is {self.render_seconds!r}; it must not be negative")
        if not self.api_key:
            raise ValueError("api_key must not be empty")
