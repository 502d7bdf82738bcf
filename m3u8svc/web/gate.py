"""
What is refused before anything reads a body: the decisions. Pure; `channel.py` carries them out.

Threats (reliability.md 2.3): a web page in the user's browser that posts forms, opens sockets or rebinds its name to
our address; and clients that send too much. So: exactly one Host that names an address we listen on; no foreign
Origin; bodies only as JSON and only where a body belongs, and small. Paths are plain ASCII: what is decided here on the
raw path is what is routed later, since nothing is left to unquote.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

ROUTES: Mapping[str, tuple[str, ...]] = {
    "/api/tasks": ("GET", "POST", "PUT", "DELETE"),
    "/api/settings": ("GET", "POST"),
    "/api/plugins": ("GET",),
    "/ws/progress": ("GET",),
    "/": ("GET", "HEAD"),
    "/healthz": ("GET", "HEAD"),
    "/favicon.ico": ("GET", "HEAD"),
}
"""Every path we answer, with its methods; below /static/ it is GET and HEAD."""

STATIC = "/static/"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})

PLAYLIST_BYTES = 8 * 1024 * 1024
"""Of a playlist that comes with a task."""
FIELDS_BYTES = 256 * 1024
"""Of everything else in a task's body."""
TASK_BODY_BYTES = FIELDS_BYTES + 2 * PLAYLIST_BYTES
"""JSON writes line ends as two bytes, and many clients what is not ASCII as six for three."""
BODY_BYTES = 16 * 1024

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS: tuple[tuple[str, str], ...] = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
"""On every answer (R-WEB-5); a route that sets one itself keeps its own."""

_SEGMENT = "[A-Za-z0-9_-][A-Za-z0-9._-]*"
_PLAIN_PATH = re.compile(f"/(?:{_SEGMENT}(?:/{_SEGMENT})*/?)?")
_JSON = re.compile(r'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")

Headers = Mapping[str, Sequence[str]]
"""Header values by lower-case name."""


@attrs.frozen(kw_only=True)
class Refusal:
    """
    An answer given instead of the request being read. `allow` are the methods a 405 names.
    """

    status: int
    message: str
    code: str
    allow: tuple[str, ...] = ()


BAD_REQUEST = Refusal(status=400, message="请求格式错误", code="bad_http")
HEADERS_TOO_LARGE = Refusal(status=431, message="请求头过大", code="headers_too_large")
BODY_TOO_LARGE = Refusal(status=413, message="请求体过大", code="body_too_large")


def decide(
    method: str, target: str, headers: Headers, allowed_hosts: frozenset[str], *, length: int | None = 0
) -> Refusal | None:
    """
    Why this request is refused; None when it may pass. `length` is that of the body, None when it is chunked.
    """
    path = target.partition("?")[0]
    return (
        _host_refusal(headers.get("host", ()), allowed_hosts)
        or _origin_refusal(path, headers, allowed_hosts)
        or _route_refusal(method, path)
        or _body_refusal(method, path, headers, length)
    )


def body_limit(method: str, target: str) -> int:
    """
    How many bytes the body of this request may have.
    """
    return TASK_BODY_BYTES if (method, target.partition("?")[0]) == ("POST", "/api/tasks") else BODY_BYTES


def host_names(listening: Iterable[tuple[str, int]]) -> frozenset[str]:
    """
    The Host values that name us, for the (address, port) pairs really listened on: the numeric addresses, and the
    names of this machine's own end where it is reachable through them. A default port may be left out.
    """
    names: set[str] = set()
    for address, port in listening:
        wildcard = address in ("", "0.0.0.0", "::")
        local = wildcard or address == "::1" or address.startswith("127.")
        hosts = {f"[{address}]" if ":" in address else address} if not wildcard else set()
        for host in hosts.union(_LOOPBACK if local else ()):
            names.add(f"{host}:{port}")
            if port in (80, 443):
                names.add(host)
    return frozenset(names)


def _host_refusal(given: Sequence[str], allowed_hosts: frozenset[str]) -> Refusal | None:
    if len(given) == 1 and given[0].lower() in allowed_hosts:
        return None
    return Refusal(status=421, message="请求的主机名不是本服务的地址", code="wrong_host")


def _origin_refusal(path: str, headers: Headers, allowed_hosts: frozenset[str]) -> Refusal | None:
    """
    Refuse what another site's page sends. Our own pages may be linked to from anywhere; everything else may not.
    """
    page = path in ROUTES and not path.startswith(("/api/", "/ws/"))
    if page or path.startswith(STATIC):
        return None
    origins = headers.get("origin", ())
    if origins:
        own = len(origins) == 1 and _own_origin(origins[0], allowed_hosts)
    else:
        own = all(site in ("same-origin", "none") for site in headers.get("sec-fetch-site", ()))
    return None if own else Refusal(status=403, message="拒绝来自其他网站的请求", code="foreign_origin")


def _own_origin(origin: str, allowed_hosts: frozenset[str]) -> bool:
    scheme, separator, host = origin.lower().partition("://")
    return bool(separator) and scheme in ("http", "https") and host in allowed_hosts


def _route_refusal(method: str, path: str) -> Refusal | None:
    if not _PLAIN_PATH.fullmatch(path):
        return Refusal(status=404, message="路径不存在", code="not_found")
    allow = ("GET", "HEAD") if path.startswith(STATIC) else ROUTES.get(path, ())
    if method not in METHODS or (allow and method not in allow):
        return Refusal(status=405, message="方法不支持", code="method_not_allowed", allow=allow)
    return None if allow else Refusal(status=404, message="路径不存在", code="not_found")


def _body_refusal(method: str, path: str, headers: Headers, length: int | None) -> Refusal | None:
    if length == 0:
        return None
    if method not in ("POST", "PUT"):
        return Refusal(status=400, message="此请求不能带请求体", code="unexpected_body")
    types = headers.get("content-type", ())
    if len(types) != 1 or not _JSON.fullmatch(types[0].strip()):
        return Refusal(status=415, message="请求体必须是 application/json", code="not_json")
    return BODY_TOO_LARGE if length is not None and length > body_limit(method, path) else None
