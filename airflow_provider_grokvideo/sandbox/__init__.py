"""A real HTTP server that speaks the Grok video API and renders real MP4 files.

It is an independent witness: it imports nothing from the rest of this package, so that a
misunderstanding in the provider's reader cannot hide in the server that tests it.
"""

from airflow_provider_grokvideo.sandbox.embedded import Sandbox

__all__ = ["Sandbox"]
