"""A local HTTP server with the Grok video API, which renders real MP4 files.

It imports nothing from the rest of this package, so that a mistake in the provider's parser is not repeated in the
server that tests it.
"""

from airflow_provider_grokvideo.sandbox.embedded import Sandbox

__all__ = ["Sandbox"]
