"""Other people's words, made fit to be shown: without keys, and short."""

import re

MAX_TEXT = 300
"""Characters of a provider's message that are kept. Enough for its sentence, too short for a body."""

_GONE = "[redacted]"
_MAX_READ = 4000  # characters that are looked at, so that a huge body costs nothing

_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[^\s\"',;}]+", re.IGNORECASE)
_NAMES = (
    r"api[-_ ]?key(?: provided)?|(?:access|auth|refresh|bearer|id)?[-_]?token|(?:client[-_]?)?secret"
    r"|password|passwd|authorization|cookie"
)
_NAMED = re.compile(
    rf"((?:\b|_)(?:{_NAMES})[\"']?\s*[=:]\s*b?[\"']?|[?&]key=)(?:(?:Bearer|Basic)\s+)?[^\s\"',;&}}]+",
    re.IGNORECASE,
)
_PREFIXED = re.compile(
    r"\b(?:(?:sk|pk|rk|gsk|hf|xai|gh[a-z]|glpat|xox[a-z]|whsec)[-_][\w*-]{6,}|(?:AIza|AKIA)[\w-]{12,}"
    r"|eyJ[\w-]+(?:\.[\w-]+)+)"
)
_USERINFO = re.compile(r"://[^/\s@]+@")
_LONG = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_PLAIN_PIECE = re.compile(
    r"[a-z]{0,20}[0-9]{0,8}|[A-Z][a-z]{0,20}|[A-Z]{1,20}|[0-9]{1,8}[a-z]{0,3}|(?:[A-Z][a-z]{1,15}){2,}"
)


def redact(text: str) -> str:
    """Return `text` without what looks like a key.

    That is: what follows `Bearer`, `api_key=` and the like, known prefixes (`sk-`, `AIza`, ...), the
    user of a URL, and any run of 24 or more characters of hex or base64 that is not made of words and
    short numbers, as a model's name or a path is.
    """
    text = _NAMED.sub(rf"\1{_GONE}", text)
    text = _SCHEME.sub(rf"\1 {_GONE}", text)
    text = _PREFIXED.sub(_GONE, text)
    text = _USERINFO.sub(f"://{_GONE}@", text)
    return _LONG.sub(_long_run, text)


def excerpt(text: str) -> str:
    """Return the redacted beginning of `text` on one line, at most `MAX_TEXT` characters."""
    if len(text) > _MAX_READ:
        text = text[:_MAX_READ].rpartition(" ")[0]  # no half of a key at the cut
    text = " ".join(redact(text).split())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def describe(exc: BaseException) -> str:
    """Return the excerpt of what `exc` says, "" if it says nothing or cannot."""
    try:
        return excerpt(str(exc))
    except Exception:
        return ""


def _long_run(match: re.Match[str]) -> str:
    run = match.group()
    plain = all(map(_PLAIN_PIECE.fullmatch, re.split(r"[-_/+=]", run)))
    return run if plain else _GONE
