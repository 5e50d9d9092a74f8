"""How the documentation is built: ``make docs``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from airflow_provider_grokvideo import __version__

# The modules that are documented import Airflow, which would make itself at home in the user's directory.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="grokvideo-docs-"))

HERE = Path(__file__).parent

project = "Grok Video for Apache Airflow"
author = "The airflow-provider-grokvideo contributors"
version = release = __version__
html_title = project

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
exclude_patterns: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_default_options = {"members": True, "show-inheritance": True}
# Airflow decorates what tasks run; the documentation shows what was written.
autodoc_preserve_defaults = True

html_theme = "furo"
html_show_sphinx = False
html_copy_source = False
html_permalinks_icon = "#"
# Pages fetch nothing from another host: fonts, styles and scripts are the theme's own.
html_theme_options = {"top_of_page_buttons": []}
