"""descry identifications: what two keys have said, as the API tells it."""

import json
from pathlib import Path
from typing import get_args

import pytest

from app.access.principal import Principal
from app.access.schemas import NewKey
from app.access.service import KeyService
from app.commands.identifications import InState
from app.core import opened
from app.errors import IdentificationNotFoundError
from app.identifications.acts import State
from app.identifications.schemas import NewIdentification
from app.identifications.service import IdentificationService
from app.settings import Settings
from tests.app.test_audit_verbs import entries
from tests.app.test_command_line import verb
from tests.app.test_queries_verbs import data

__all__ = ["data"]


def test_the_states_are_those_of_the_api() -> None:
    assert get_args(InState) == get_args(State)


def test_what_was_said_is_listed_and_shown(data: Path) -> None:
    found = json.loads(verb("search", "a red coat", "--purpose", "case 17", "--json"))
    query, people = found["query_id"], [candidate["identity"]["id"] for candidate in found["candidates"]]
    with opened(Settings(data_dir=data / "data")) as core, core.database.write() as session:
        keys = [KeyService(session).create(NewKey(name=name, scopes=["search"])) for name in ("ann", "ben [red]")]
        ann, ben = (Principal(key.id, key.name, frozenset({"search"})) for key in keys)
        for number, note in ((people[0], "the scar"), (people[1], "the walk")):
            new = NewIdentification(query_id=query, identity_id=number, purpose="case 17", note=note)
            made = IdentificationService(session, ann).propose(new, open_for_s=3600)
        IdentificationService(session, ben).act(made.id, "refuse", "taller")

    page = json.loads(verb("identifications", "list", "--json"))
    assert [one["state"] for one in page["identifications"]] == ["refused", "proposed"]
    assert [one["may"] for one in page["identifications"]] == [[], []]  # the command line has no key
    waiting = json.loads(verb("identifications", "list", "--state", "proposed", "--query", query, "--json"))
    (one,) = waiting["identifications"]
    assert (one["identity_id"], one["proposed"]["name"], one["proposed"]["note"]) == (people[0], "ann", "the scar")
    assert json.loads(verb("identifications", "list", "--identity", str(people[2]), "--json"))["identifications"] == []
    first = json.loads(verb("identifications", "list", "--limit", "1", "--json"))
    rest = json.loads(verb("identifications", "list", "--before", str(first["next_before"]), "--json"))
    assert rest["identifications"] == [one]
    table = [line.split("\t") for line in verb("identifications", "list").splitlines()]
    assert table[0][:4] == ["ID", "State", "Person", "Name"]
    assert table[1][1:3] == ["refused", str(people[1])]
    assert table[1][6] == "ben [red]"

    assert json.loads(verb("identifications", "show", str(one["id"]), "--json")) == one
    told = verb("identifications", "show", str(made.id))
    assert "by ben [red] (key 2): taller" in told
    assert f"Query          {query}" in told
    assert told.rstrip().endswith("Candidates, not identifications.")
    with pytest.raises(IdentificationNotFoundError):
        verb("identifications", "show", "99")
    last = [(entry.action, entry.outcome) for entry in entries(data)][-3:]
    assert last == [
        ("view.identification", "ok"),
        ("view.identification", "ok"),
        ("view.identification", "identification_not_found"),
    ]
