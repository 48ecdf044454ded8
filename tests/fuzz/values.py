"""Values that parsers stumble over."""

from typing import Any

from hypothesis import strategies as st

HOSTILE = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "\udc00x",
    "\uffff",
    "\ufeff",
    "😀",
    "e\u0301" * 40,
    "\u202eevil",
    "\r\n",
    "a\r\nSet-Cookie: x=1",
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\x",
    "C:\\x",
    "file:///etc/passwd",
    "http://127.0.0.1:9/",
    "%00",
    "%s%n",
    "{0.__class__}",
    "' OR 1=1 --",
    "'; DROP TABLE images; --",
    '" OR ""="',
    "$(id)",
    "`id`",
    "<script>alert(1)</script>",
    "${jndi:ldap://x}",
    "=1+1",
    "NaN",
    "Infinity",
    "-0",
    "1e999",
    "0x10",
    "١٢٣",
    "9" * 400,
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "true",
    "null",
    "[]",
    "{}",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "2026-02-30",
    "2026-W01-1",
    "24:00",
    "a" * 3000,
]
"""Texts: broken Unicode, paths, numbers as text, markup, SQL, formats, times at the ends of the calendar."""
NUMBERS: list[Any] = [
    0,
    -0.0,
    1,
    -1,
    0.1,
    1e-320,
    1e308,
    -1e308,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**40,
    10**309,
]

texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.text(st.characters(), max_size=8))
scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(), st.floats(), texts)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)
"""Any JSON, and what JSON has not: NaN, infinities, lone surrogates."""
