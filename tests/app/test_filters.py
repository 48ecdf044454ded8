"""What a filter may be, what is said of one that may not, and the filters over HTTP and as options of the verb."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app as cli
from app.commands.filters import condition
from app.core import Core
from app.database.tables import Identity
from app.errors import AttributeProtectedError, FilterError, TimezoneUnknownError
from app.search.clock import offset_periods
from app.search.filters import Filters
from app.search.protected import check_protected
from app.settings import PROTECTED_ATTRIBUTES, Settings
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import ask, people, upload

EQ = {"field": "a", "op": "eq", "value": 1}


def attribute(op: str, value: object) -> dict[str, Any]:
    return {"image_attributes": [{"field": "a", "op": op, "value": value}]}


def hours(start: str, end: str, zone: str = "UTC") -> dict[str, Any]:
    return {"time_of_day": {"from": start, "to": end, "timezone": zone}}


REFUSED: list[tuple[object, str]] = [
    ([], "filters:"),
    ({"camera": "x"}, "filters.camera: there is no such filter"),
    ({"cameras": []}, "filters.cameras: the list is empty; leave the filter out"),
    ({"cameras": "x"}, "filters.cameras:"),
    ({"cameras": [" "]}, "filters.cameras.0: the text is empty"),
    ({"cameras": ["\0"]}, "filters.cameras.0:"),
    ({"cameras": ["\ud800"]}, "filters.cameras.0:"),
    ({"cameras": ["x" * 201]}, "filters.cameras.0:"),
    ({"cameras": ["x"] * 201}, "filters.cameras:"),
    ({"track": 7}, "filters.track:"),
    ({"provisional": "yes"}, "filters.provisional:"),
    ({"identities": []}, "filters.identities: the list is empty"),
    ({"identities": [True]}, "filters.identities.0:"),
    ({"without_identities": [0]}, "filters.without_identities.0:"),
    ({"without_identities": [2**63]}, "filters.without_identities.0:"),
    ({"captured_at": {}}, "filters.captured_at: the span has no end"),
    ({"captured_at": {"from": "2026-05-04T09:00"}}, "filters.captured_at.from: the time names no zone"),
    ({"captured_at": {"from": "yesterday"}}, "filters.captured_at.from: this is no instant; write it like"),
    ({"captured_at": {"from": 1777885200}}, "filters.captured_at.from: this is no instant"),
    ({"captured_at": {"to": "0001-01-01T00:00:00+14:00"}}, "filters.captured_at.to: the instant lies outside"),
    ({"captured_at": {"from": "2026-05-04T09:00Z", "to": "2026-05-04T11:00+02:00"}}, "`from` must lie before `to`"),
    (hours("22:00", "22:00"), "the same time; for the whole day leave the filter out"),
    (hours("22:00", "24:00"), "filters.time_of_day.to: write the time of day as HH:MM"),
    (hours("9:00", "10:00"), "filters.time_of_day.from: write the time"),
    ({"time_of_day": {"from": "09:00", "to": "10:00"}}, "filters.time_of_day.timezone:"),
    ({"image_attributes": []}, "filters.image_attributes: the list is empty"),
    ({"image_attributes": [EQ] * 21}, "filters.image_attributes:"),
    ({"identity_attributes": [{**EQ, "field": ""}]}, "filters.identity_attributes.0.field: the text is empty"),
    ({"identity_attributes": [{**EQ, "path": "a"}]}, "filters.identity_attributes.0.path: there is no such filter"),
    (attribute("like", "x"), "filters.image_attributes.0.op:"),
    (attribute("eq", None), "filters.image_attributes.0.value: a value is a string, a number, true or false"),
    (attribute("eq", [1]), "`eq` needs as its value a string, a number, true or false"),
    (attribute("eq", float("nan")), "numbers must be finite"),
    (attribute("eq", 10**301), "numbers must be finite"),
    (attribute("eq", "x" * 1001), "filters.image_attributes.0.value:"),
    (attribute("in", "x"), "`in` needs as its value a list of values"),
    (attribute("in", []), "filters.image_attributes.0.value: the list is empty"),
    (attribute("in", [1, "1"]), "the values of `in` must be of one type"),
    (attribute("in", [1, True]), "the values of `in` must be of one type"),
    (attribute("in", list(range(101))), "filters.image_attributes.0.value:"),
    (attribute("range", 3), "`range` needs as its value bounds such as"),
    (attribute("range", {}), "the range has no bound"),
    (attribute("range", {"gte": 1, "gt": 1}), "give one lower and one upper bound"),
    (attribute("range", {"gte": 1, "lt": "2"}), "both bounds must be numbers, or both strings"),
    (attribute("range", {"gte": 2, "lte": 1}), "nothing lies in the range"),
    (attribute("range", {"gte": 2, "lt": 2}), "nothing lies in the range"),
    (attribute("range", {"gte": True}), "filters.image_attributes.0.value"),
    (attribute("exists", "yes"), "`exists` needs as its value true or false"),
    (attribute("prefix", ""), "`prefix` needs as its value the beginning of a string"),
    (attribute("prefix", 1), "`prefix` needs as its value the beginning of a string"),
]


@pytest.mark.parametrize(("given_filters", "message"), REFUSED)
def test_a_refusal_names_the_place_and_what_to_do(given_filters: object, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        Filters.model_validate(given_filters)
    assert type(caught.value) is FilterError
    assert caught.value.message.startswith("filters")
    assert message in caught.value.message


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "europe/berlin", "../../etc/passwd", "/etc/localtime", "CEST"])
def test_an_unknown_zone_has_a_code_of_its_own(zone: str) -> None:
    with pytest.raises(TimezoneUnknownError, match="IANA"):
        Filters.model_validate(hours("09:00", "10:00", zone))


def test_filters_come_back_as_they_were() -> None:
    asked = {
        "cameras": ["door"],
        "captured_at": {"from": "2026-05-04T09:00:00Z"},
        **hours("22:00", "06:00", "Europe/Berlin"),
        "image_attributes": [EQ, {"field": "b", "op": "in", "value": [1, 1.5]}],
        "identity_attributes": [{"field": "c", "op": "range", "value": {"gte": "a"}}],
        "provisional": False,
    }
    found = Filters.model_validate(asked)
    assert json.loads(found.model_dump_json(exclude_none=True)) == asked
    assert Filters.read(found.model_dump_json()) == found == Filters.model_validate(found.model_dump(mode="json"))
    assert found
    assert not Filters()
    for kept, value in ((1, 1), (1.0, 1.0), (True, True), ("1", "1")):
        one = Filters.model_validate(attribute("eq", kept)).conditions[0].value
        assert (one, type(one)) == (value, type(value))


PROTECTED = (
    *("race", "Race", "perceived_race", "skin", "skinTone", "skin-colour", "Skin Color", "ETHNICITY", "ethnic.group"),
    *(
        "nationalOrigin",
        "national_origin",
        "NationalOrigin",
        "nationalorigin",
        "religion",
        "is_disabled",
        "healthStatus",
    ),
)


@pytest.mark.parametrize("field", PROTECTED)
def test_protected_attributes_are_refused(field: str) -> None:
    for name in ("image_attributes", "identity_attributes"):
        wanted = Filters.model_validate({name: [EQ, {"field": field, "op": "exists", "value": False}]})
        with pytest.raises(AttributeProtectedError, match="protected attribute"):
            check_protected(wanted, PROTECTED_ATTRIBUTES)
        check_protected(wanted, ())


@pytest.mark.parametrize(
    "field", ["skinny_jeans", "trace", "brace", "hair", "origin", "national", "orientation", "embrace"]
)
def test_others_are_not(field: str) -> None:
    wanted = Filters.model_validate({"image_attributes": [{**EQ, "field": field}]})
    check_protected(wanted, PROTECTED_ATTRIBUTES)
    with pytest.raises(AttributeProtectedError):
        check_protected(wanted, (*PROTECTED_ATTRIBUTES, field))


def test_which_are_protected_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().protected_attributes == PROTECTED_ATTRIBUTES
    monkeypatch.setenv("DESCRY_PROTECTED_ATTRIBUTES", "ticket class, hair")
    protected = Settings().protected_attributes
    assert protected == ("ticket class", "hair")
    with pytest.raises(AttributeProtectedError):
        check_protected(Filters.model_validate({"image_attributes": [{**EQ, "field": "ticketClass"}]}), protected)


@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"]),
    st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC)),
)
def test_offsets_are_those_of_the_zone(zone: str, instant: datetime) -> None:
    periods = offset_periods(zone)
    moments = [instant, *(since + timedelta(seconds=step) for since, _ in periods[1:3] for step in (-1, 0))]
    for at in moments:
        offset = next(seconds for since, seconds in reversed(periods) if since <= at)
        assert at.astimezone(ZoneInfo(zone)).utcoffset() == timedelta(seconds=offset)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hair=brown", ("hair", "eq", "brown")),
        ("age=30", ("age", "eq", 30)),
        ('age="30"', ("age", "eq", "30")),
        ("vip=true", ("vip", "eq", True)),
        ("x=null", ("x", "eq", "null")),
        ("x=NaN", ("x", "eq", "NaN")),
        ("a.b = c", ("a.b ", "eq", " c")),
        ("hair=brown|black", ("hair", "in", ["brown", "black"])),
        ("age>=30", ("age", "range", {"gte": 30})),
        ("age>30", ("age", "range", {"gt": 30})),
        ("day<=2026-05-04", ("day", "range", {"lte": "2026-05-04"})),
        ("age<30.5", ("age", "range", {"lt": 30.5})),
        ("ticket^=A-2", ("ticket", "prefix", "A-2")),
        ("hair", ("hair", "exists", True)),
        ("!hair", ("hair", "exists", False)),
    ],
)
def test_conditions_as_options(text: str, expected: tuple[str, str, object]) -> None:
    found = condition(text)
    assert (found["field"], found["op"], found["value"]) == expected


@pytest.fixture
def filled(client: TestClient, core: Core, ingest: IngestFolder, tmp_path: Any) -> TestClient:  # noqa: ANN401
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    with core.database.write() as session:
        for row in session.scalars(select(Identity)):
            row.attributes = {"letters": len(row.external_id or ""), "warm": row.external_id in ("red", "orange")}
    return client


def test_over_http(filled: TestClient, tmp_path: Any) -> None:  # noqa: ANN401
    warm = {"identity_attributes": [{"field": "warm", "op": "eq", "value": True}], "cameras": ["cam-1"]}
    answer = ask(filled, "a red coat", filters=warm)
    assert [one["identity"]["external_id"] for one in answer["candidates"]] == ["red", "orange"]
    data = (tmp_path / "people" / "red0.jpg").read_bytes()
    by_picture = upload(filled, data, filters=json.dumps(warm)).json()
    assert [one["identity"]["external_id"] for one in by_picture["candidates"]] == ["red", "orange"]
    for wrong, code in {
        '{"cameras": []}': "filter_invalid",
        json.dumps(hours("22:00", "06:00", "Mars")): "timezone_unknown",
        '{"image_attributes": [{"field": "Skin colour", "op": "exists", "value": true}]}': "attribute_protected",
    }.items():
        response = filled.post("/v1/search/text", json={"query": "red", "filters": json.loads(wrong)})
        assert (response.status_code, response.json()["code"]) == (422, code)
        response = upload(filled, data, filters=wrong)
        assert (response.status_code, response.json()["code"]) == (422, code)
    response = upload(filled, data, filters="{'cameras'")
    assert (response.status_code, response.json()["code"]) == (422, "filter_invalid")
    assert "no JSON" in response.json()["detail"]
    assert ask(filled, "red", filters=None, limit=100)["candidates"] == ask(filled, "red", limit=100)["candidates"]


def test_the_document_says_what_can_go_wrong(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for path in ("/v1/search/text", "/v1/search/image"):
        told = document["paths"][path]["post"]["responses"]["422"]["description"]
        assert all(code in told for code in ("filter_invalid", "timezone_unknown", "attribute_protected"))
    schemas = document["components"]["schemas"]
    assert schemas["Filters"]["additionalProperties"] is False
    assert set(schemas["Span"]["properties"]) == {"from", "to"}


def test_as_options_of_the_verb(filled: TestClient, settings: Settings) -> None:
    def run(*options: str) -> list[str]:
        arguments = ["search", "a red coat", "--json", "--data-dir", str(settings.data_dir), *options]
        found = json.loads(CliRunner().invoke(cli, arguments, catch_exceptions=False).stdout)
        return [one["identity"]["external_id"] for one in found["candidates"]]

    assert run("--where", "warm=true", "--camera", "cam-1", "--camera", "cam-7") == ["red", "orange"]
    assert set(run("--where", "letters>=6", "--where", "letters<7", "--confirmed")) == {"yellow", "purple", "orange"}
    assert run("--provisional") == run("--from", "2026-05-04T09:00Z") == run("--image-where", "x") == []
    assert run("--time-of-day", "22:00-06:00 Europe/Berlin") == []
    assert run("--identity", "1", "--identity", "2", "--not-identity", "1") != run("--identity", "1")
    for wrong, error in (
        (["--from", "2026-05-04T09:00"], FilterError),
        (["--where", "race=x"], AttributeProtectedError),
        (["--time-of-day", "22:00-06:00 Mars"], TimezoneUnknownError),
    ):
        with pytest.raises(error):
            run(*wrong)
    result = CliRunner().invoke(cli, ["search", "red", "--time-of-day", "night"])
    assert result.exit_code == 2
