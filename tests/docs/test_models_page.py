"""The tables of models in the documentation are those of the code."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from airflow_provider_grokvideo.api import models
from airflow_provider_grokvideo.api.models import MODELS, Model

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "requests.md").read_text()


def rows(start: str) -> list[list[str]]:
    """Return the cells of the first table below a line, without its header."""
    lines = PAGE.split(start, 1)[1].splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("|"))
    found = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return [found[0], *found[2:]]


def limits_of(model: Model) -> dict[str, str]:
    takes = bool(model.reference_images)
    return {
        "Kinds": ", ".join(model.kinds),
        "Resolutions": ", ".join(model.resolutions),
        "Reference images": str(model.reference_images),
        "Longest with reference images": str(model.reference_seconds) if takes else "-",
        "Resolutions with reference images": ", ".join(model.reference_resolutions) if takes else "-",
        "`image` with `reference_images`": "yes" if model.image_with_references else "no",
        "`last_frame`, `keyframes`": "yes" if model.frames else "no",
    }


def test_limits_of_each_model_are_documented() -> None:
    (_, *names), *table = rows("### Limits")
    assert names == [f"`{name}`" for name in MODELS]
    for column, model in enumerate(MODELS.values(), 1):
        assert {row[0]: row[column] for row in table} == limits_of(model)


def test_limits_of_all_models_are_documented() -> None:
    generation, extension = models.DURATIONS["generation"], models.DURATIONS["extension"]
    shortest, longest = models.STORED_SECONDS
    assert dict(rows("These limits hold for all models:")[1:]) == {
        "Duration of a generation": (
            f"{generation.shortest} to {generation.longest} seconds, default {generation.default}"
        ),
        "Duration of an extension": f"{extension.shortest} to {extension.longest} seconds, default {extension.default}",
        "Video to edit": f"up to {models.LONGEST_SOURCE['edit']} seconds",
        "Video to extend": f"up to {models.LONGEST_SOURCE['extension']} seconds",
        "Reference images": str(models.MAX_REFERENCE_IMAGES),
        "Reference audios": str(models.MAX_REFERENCE_AUDIOS),
        "Keyframes": str(models.MAX_KEYFRAMES),
        "`expires_after` of a stored file": f"{shortest} to {longest} seconds",
    }


@pytest.mark.parametrize("name", MODELS)
def test_list_prices_are_documented(name: str) -> None:
    row = next(row for row in rows("### List prices")[1:] if row[0] == f"`{name}`")
    prices = MODELS[name].prices
    listed = [prices.get(unit, Decimal(0)) for unit in models.UNITS]
    assert [Decimal(0) if cell == "-" else Decimal(cell) for cell in row[1:]] == listed


def test_date_and_sources_of_the_tables_are_documented() -> None:
    text = " ".join(PAGE.split())
    assert models.AS_OF in text
    for source in models.SOURCE.split(", "):
        assert source.removesuffix(" (docs.x.ai)").removeprefix("xAI's ") in text
