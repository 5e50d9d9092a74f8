"""What the parser makes of hostile answers goes into PostgreSQL's columns of type text, json and jsonb."""

from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import example, given, settings

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.polling import Stop
from airflow_provider_grokvideo.events import to_event
from airflow_provider_grokvideo.exceptions import GrokVideoError
from tests.distributed.services import Postgres
from tests.support.hostile import ID, NASTY, SETTINGS, answers, what_comes_out


def failure(text: str) -> HTTPResponse:
    """Return the answer whose every field is that text."""
    body = {"status": "failed", "model": text, "error": {"code": text, "message": text}}
    return HTTPResponse(200, {"content-type": text}, json.dumps(body).encode())


def event(answer: HTTPResponse) -> dict:
    """Return the trigger's event after that answer."""
    try:
        generation = protocol.read_poll(SETTINGS, ID, answer)
    except GrokVideoError as error:
        return to_event(Stop("error", error), ID, None, 1)
    return to_event(Stop("final" if generation.is_final else "timeout"), ID, generation, 1)


def test_parsed_texts_can_be_stored(postgres: Postgres) -> None:
    import psycopg2

    connection = psycopg2.connect(postgres.dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE said (one text, two json, three jsonb)")

        @settings(max_examples=300, deadline=None)
        @given(answers)
        @example(failure("\ud800"))
        @example(failure("a\x00b"))
        @example(failure("\\u0000 \\ud800"))
        def store(answer: HTTPResponse) -> None:
            found = what_comes_out(answer)
            texts = [value for value in found.values() if isinstance(value, str)]
            plain = {name: str(value) if isinstance(value, Decimal) else value for name, value in found.items()}
            for document in (plain, event(answer)):
                rows = [
                    (text, json.dumps(document), json.dumps(document, ensure_ascii=False)) for text in texts or [""]
                ]
                cursor.executemany("INSERT INTO said VALUES (%s, %s, %s)", rows)

        store()
        for text in NASTY:
            store.hypothesis.inner_test(failure(text))
        cursor.execute("SELECT count(*) FROM said WHERE three IS NOT NULL")
        assert cursor.fetchone()[0] >= 300
    connection.close()
