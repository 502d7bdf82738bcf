"""
What may be shown: the one redaction for logs, errors, the WebSocket and debug files (DESIGN 5.7).

Secrets are userinfo, queries and fragments of URLs (signed tokens live there), and the values of headers whose name
looks like a credential. Pure; imported by everything above.
"""

import re
from urllib.parse import urlsplit

MASK = "***"

# A URL ends at white space, control characters, what we escape on the wire, or the full-width punctuation of our own
# Chinese messages. Not at ' | { } ` ^, which queries hold as they are: a token behind one of them must not show.
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s\"<>\x00-\x1f\x7f-\x9f（），。：；“”、]+")
# What follows a URL that was redacted before, as in the text of an error within another one: no query is left in it.
_AFTER_CUT = re.compile(r"(?<=\?…)[]).,:;]+\Z")
# Access tokens of our own (`access.tokens`), also when cut off: users put them where they do not belong, as in a path.
_OWN_TOKEN = re.compile(r"(m3u8svc_)[0-9a-f]{8,}", re.IGNORECASE)
_SECRET_WORDS = ("auth", "token", "key", "secret", "session", "cookie", "credential", "password", "signature")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def redact_url(url: str) -> str:
    """
    `url` without userinfo, query and fragment: enough to recognise it, nothing to use it with.

    A query is shown as ``?…`` so that a reader knows that there was one. Text that is no URL at all is cut to its
    scheme, since anything could be in it.
    """
    url = escape_controls(url)
    if url.startswith("data:"):
        return "data:…"
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return url.split(":", 1)[0][:20] + ":…"
    scheme = f"{parts.scheme}:" if parts.scheme else ""
    slashes = "//" if url.lstrip()[len(scheme) :].startswith("//") else ""
    shown = f"{scheme}{slashes}{host}{parts.path}"
    if len(shown) > 300:
        shown = shown[:297] + "…"
    return shown + ("?…" if parts.query else "")


def redact_text(text: str) -> str:
    """
    `text` with every URL in it redacted, access tokens of ours masked and control characters escaped: one line, safe
    for any log.
    """
    text = _OWN_TOKEN.sub(rf"\1{MASK}", text)
    return escape_controls(_URL_IN_TEXT.sub(lambda found: _redact_found(found.group()), text))


def _redact_found(url: str) -> str:
    """
    A URL found in a text; punctuation behind one that shows no query any more is the text's.
    """
    behind = _AFTER_CUT.search(url)
    return redact_url(url) + (behind.group() if behind else "")


def escape_controls(text: str) -> str:
    r"""
    `text` with control, line-separator and bidi characters written as ``\xNN``/``\uNNNN`` (R-LOG-2).
    """
    return _CONTROL.sub(lambda found: _escape(ord(found.group())), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def is_secret_header(name: str) -> bool:
    """
    Whether a header of this name carries a credential, by the words of R-RED-2: such headers are scoped and masked.
    """
    lowered = name.lower()
    return any(word in lowered for word in _SECRET_WORDS)
