"""What is believed of a reverse proxy."""

import pytest
from starlette.types import Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.errors import ConfigurationError
from app.settings import load_settings
from tests.loops import finished


async def seen(trusted: tuple[str, ...], peer: str) -> tuple[str, str]:
    """Address and scheme that the application gets of a request which says who it is from."""
    found: list[tuple[str, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append((scope["client"][0], scope["scheme"]))

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    settings = load_settings(trusted_proxies=trusted)
    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "client": (peer, 4711), "scheme": "http", "headers": headers}
    middleware = ProxyHeadersMiddleware(app, trusted_hosts=list(settings.trusted_proxies))  # type: ignore[arg-type]
    await middleware(scope, receive, send)  # type: ignore[arg-type]
    return found[0]


@pytest.mark.parametrize(
    ("peer", "expected"),
    [("172.30.20.7", ("203.0.113.9", "https")), ("198.51.100.1", ("198.51.100.1", "http"))],
)
def test_a_network_is_believed_and_nobody_else(peer: str, expected: tuple[str, str]) -> None:
    assert finished(seen(("172.30.20.0/24", "::1"), peer)) == expected


def test_the_variable_is_a_list_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCRY_TRUSTED_PROXIES", "172.30.20.0/24, 10.0.0.7")
    assert load_settings().trusted_proxies == ("172.30.20.0/24", "10.0.0.7")


@pytest.mark.parametrize("wrong", ["*", "proxy.example", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("DESCRY_TRUSTED_PROXIES", wrong)
    with pytest.raises(ConfigurationError, match="TRUSTED_PROXIES"):
        load_settings()
