"""Why a certificate is not accepted, in words."""

from typing import Any

import pytest

from blobfs.shares.certificates import refusal

NOW = 1_780_000_000.0
"""In May 2026."""


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "issuer": ((("organizationName", "Our Own"),), (("commonName", "Our Root"),)),
        "notBefore": "Jan  1 00:00:00 2025 GMT",
        "notAfter": "Jan  1 00:00:00 2027 GMT",
        "subjectAltName": (("DNS", "a.example"), ("IP Address", "10.0.0.1")),
        **changes,
    }


@pytest.mark.parametrize(
    ("code", "chain", "words"),
    [
        (10, [facts(notAfter="Jan  1 00:00:00 2026 GMT")], "certificate expired on 2026-01-01"),
        (10, [facts()], "certificate of its authority has expired"),
        (10, [], "certificate of its authority has expired"),
        (9, [facts(notBefore="Feb  3 04:05:06 2028 GMT")], "certificate is not valid before 2028-02-03"),
        (9, [], "as OpenSSL has it"),
        (18, [facts()], "certificate is self-signed, and not one that is trusted"),
        (20, [facts()], "certificate is issued by Our Root, which is not trusted"),
        (
            21,
            [facts(), facts(issuer=((("organizationName", "Up"),),))],
            "certificate is issued by Up, which is",
        ),
        (19, [], "certificate is issued by an authority, which is not trusted"),
        (62, [facts()], "certificate is for a.example, 10.0.0.1, not b.example"),
        (
            64,
            [facts(subjectAltName=(("DNS", "a"),) * 9)],
            "certificate is for a, a, a and others, not b.example",
        ),
        (62, [facts(subjectAltName=())], "certificate is for no host, not b.example"),
        (62, [], "certificate is for another host, not b.example"),
        (23, [facts()], "certificate is revoked"),
        (66, [facts()], "as OpenSSL has it"),
    ],
)
def test_words(code: int, chain: list, words: str) -> None:
    """By OpenSSL's number, with what the certificate says, if it is known."""
    assert refusal(code, "as OpenSSL has it", "b.example", chain, NOW).startswith(words)


def test_what_is_quoted_stays_one_short_line() -> None:
    """Anybody can write a certificate, and the words go into logs and terminals."""
    nasty = "\x1b[2J\nWARNING all is well" + "x" * 10_000
    by = refusal(20, "", "h", [facts(issuer=((("commonName", nasty),),))], NOW)
    names = refusal(62, "", "h", [facts(subjectAltName=(("DNS", nasty),))], NOW)
    for words in (by, names):
        assert words.isprintable()
        assert len(words) < 150
