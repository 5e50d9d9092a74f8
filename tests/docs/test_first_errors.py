"""The page of first errors shows what the package says today, and every message says what to do."""

from __future__ import annotations

import re

import pytest

from tests.docs.first_errors import PAGE, collect_messages, page_of

REMEDY = re.compile(
    r"\b(Add|Check|Create|Did you mean|Enter|Raise|Upgrade|Use)\b|: install (?=[a-z])",
)


@pytest.fixture(scope="module")
def messages() -> dict[str, str]:
    """Return the message to each mistake."""
    return dict(collect_messages())


def test_page_shows_the_messages_of_today(messages: dict[str, str]) -> None:
    assert PAGE.read_text() == page_of(messages)


def test_every_message_says_what_to_do(messages: dict[str, str]) -> None:
    assert len(messages) == 13
    assert [text for text in messages.values() if not REMEDY.search(text)] == []
