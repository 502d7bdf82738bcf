"""
What is refused before anything reads a body: the decisions. Pure; `channel.py` carries them out.

Threats (reliability.md 2.3): a web page in the user's browser that posts forms, opens sockets or rebinds its name to
our address; and clients that send too much. So: exactly one Host that names an address we listen on; no foreign
Origin; bodies only as JSON and only where a body belongs, and small. Paths are plain ASCII: what is decided here on the
raw path is what is routed later, since nothing is left to unquote.
"""

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from m3u8svc.errors import (
    BadHttp,
    BodyTooLarge,
    ForeignOrigin,
    HeadersTooLarge,
    M3u8svcError,
    MethodNotAllowed,
    NotJson,
    PathNotFound,
    TooManyRequests,
    UnexpectedBody,
    WrongHost,
)
from m3u8svc.weblimits import DEFAULTS, WebLimits

ROUTES: Mapping[str, tuple[str, ...]] = {
    "/api/tasks": ("GET", "POST", "PUT", "DELETE"),
    "/api/tasks/file": ("GET", "HEAD"),
    "/api/tasks/live": ("GET",),
    "/api/counts": ("GET",),
    "/api/curl": ("POST",),
    "/api/tasks/segments": ("GET",),
    "/api/tasks/play": ("GET",),
    "/api/tasks/media": ("GET",),
    "/api/tasks/picture": ("GET",),
    "/api/settings": ("GET", "POST"),
    "/api/plugins": ("GET",),
    "/api/health": ("GET",),
    "/api/openapi.json": ("GET",),
    "/api/docs": ("GET",),
    "/api/session": ("GET", "POST", "DELETE"),
    "/ws/progress": ("GET",),
    "/metrics": ("GET",),
    "/": ("GET", "HEAD"),
    "/healthz": ("GET", "HEAD"),
    "/readyz": ("GET", "HEAD"),
    "/favicon.ico": ("GET", "HEAD"),
}
"""Every path we answer, with its methods; below /static/ it is GET and HEAD."""

STATIC = "/static/"
METRICS = "/metrics"
OTHER = "other"
"""What a path or a method is called that is none of ours."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; worker-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
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

WILDCARDS = ("", "0.0.0.0", "::")
"""What a port is bound to that listens at every address of the machine."""

Headers = Mapping[str, Sequence[str]]
"""Header values by lower-case name."""


@attrs.frozen(kw_only=True)
class Refusal:
    """
    An answer given instead of the request being read. `english` says the same as `message`; `allow` are the methods a
    405 names, `headers` what else it says.
    """

    status: int
    message: str
    english: str
    code: str
    allow: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


def refusal_of(status: int, error: type[M3u8svcError], *, allow: tuple[str, ...] = ()) -> Refusal:
    """
    A refusal in the words of the catalogue, whose texts for the door have no fields.
    """
    return Refusal(status=status, message=error.zh, english=error.en, code=error.code, allow=allow)


BAD_REQUEST = refusal_of(400, BadHttp)
HEADERS_TOO_LARGE = refusal_of(431, HeadersTooLarge)
BODY_TOO_LARGE = Refusal(
    status=413, message="请求体过大", english="the request's body is too large", code=BodyTooLarge.code
)
"""One code for what is too large, whoever sent it; only the origin's has a URL to name."""

OUR_FAULT = Refusal(
    status=500, message="服务器内部错误", english="internal error of the service", code=M3u8svcError.code
)


def moved(path: str) -> Refusal:
    """
    The answer to who left out the slash: relative links of the page would lead elsewhere.
    """
    return Refusal(status=308, message=path, english=path, code="", headers=(("Location", path),))


def too_many_requests(*, per_s: int, wait_s: float) -> Refusal:
    """
    The answer to who asks more often than may be.
    """
    error = TooManyRequests(per_s=per_s, seconds=math.ceil(wait_s))
    return Refusal(
        status=429,
        message=error.text(),
        english=error.text("en"),
        code=error.code,
        headers=(("Retry-After", str(math.ceil(wait_s))),),
    )


def decide(
    method: str,
    target: str,
    headers: Headers,
    allowed_hosts: frozenset[str],
    *,
    length: int | None = 0,
    limits: WebLimits = DEFAULTS,
    unforgeable: bool = False,
    secure: bool = False,
) -> Refusal | None:
    """
    Why this request is refused; None when it may pass. `length` is that of the body, None when it is chunked.
    `unforgeable` is one that stands or falls with what no browser adds by itself: no page can have it sent.
    `secure` is one over https: whoever sits on the way can make pages of our name over http, which are not ours.
    """
    path = target.partition("?")[0]
    return (
        _host_refusal(headers.get("host", ()), allowed_hosts)
        or (None if unforgeable else _origin_refusal(path, headers, allowed_hosts, secure))
        or _route_refusal(method, path)
        or _body_refusal(method, path, headers, length, limits)
    )


def body_limit(method: str, target: str, limits: WebLimits = DEFAULTS) -> int:
    """
    How many bytes the body of this request may have.
    """
    path = target.partition("?")[0]
    if method != "POST" or path not in ("/api/tasks", "/api/curl"):
        return limits.body_bytes
    return limits.task_body_room if path == "/api/tasks" else limits.task_body_bytes


def host_names(listening: Iterable[tuple[str, int]]) -> frozenset[str]:
    """
    The Host values that name us, for the (address, port) pairs really listened on: the numeric addresses, and the
    names of this machine's own end where it is reachable through them. A default port may be left out.
    """
    names: set[str] = set()
    for address, port in listening:
        wildcard = address in WILDCARDS
        local = wildcard or address == "::1" or address.startswith("127.")
        hosts = {f"[{address}]" if ":" in address else address} if not wildcard else set()
        for host in hosts.union(_LOOPBACK if local else ()):
            names.add(f"{host}:{port}")
            if port in (80, 443):
                names.add(host)
    return frozenset(names)


def names_of_own_end(address: str, port: int, *, proxied: bool) -> frozenset[str]:
    """
    The Host values that name us besides those known beforehand, for a connection that has (`address`, `port`) at our
    end: that numeric address, and this port only. A page that asks for us by number is ours (R-WEB-1): what rebinding
    turns to us is a name. None where a declared proxy may stand between, whose own address for us is nobody's name for
    us, and none of an address with a scope (fe80::1%eth0), which no URL can carry.
    """
    if proxied or not address or "%" in address:
        return frozenset()
    end = ipaddress.ip_address(address)
    mapped = end.ipv4_mapped if isinstance(end, ipaddress.IPv6Address) else None
    return host_names([(str(mapped or end), port)])


def _host_refusal(given: Sequence[str], allowed_hosts: frozenset[str]) -> Refusal | None:
    if len(given) == 1 and given[0].lower() in allowed_hosts:
        return None
    return refusal_of(421, WrongHost)


def _origin_refusal(path: str, headers: Headers, allowed_hosts: frozenset[str], secure: bool) -> Refusal | None:
    """
    Refuse what another site's page sends. Our own pages may be linked to from anywhere; everything else may not.
    """
    if path.startswith(STATIC) or (path in ROUTES and not is_guarded(path)):
        return None
    origins = headers.get("origin", ())
    if origins:
        own = len(origins) == 1 and _own_origin(origins[0], allowed_hosts, secure)
    else:
        own = all(site in ("same-origin", "none") for site in headers.get("sec-fetch-site", ()))
    return None if own else refusal_of(403, ForeignOrigin)


def is_guarded(path: str) -> bool:
    """
    Whether what a path leads to is somebody's, unlike the pages.
    """
    return path == METRICS or path.startswith(("/api/", "/ws/"))


def route_of(method: str, path: str) -> tuple[str, str]:
    """
    What a request is counted under: a method and a route that we have, however it was sent.
    """
    route = STATIC if path.startswith(STATIC) else path if path in ROUTES else OTHER
    return method if method in METHODS else OTHER, route


def whose_page(headers: Headers) -> str:
    """
    The origin of the page a request came from, for the log: as the browser says it, or, where it says none (pictures,
    links), the beginning of the Referer. "" if it says neither.
    """
    referers = ["/".join(referer.split("/")[:3]) for referer in headers.get("referer", ())]
    return ", ".join(headers.get("origin", ()) or referers)


def _own_origin(origin: str, allowed_hosts: frozenset[str], secure: bool) -> bool:
    scheme, separator, host = origin.lower().partition("://")
    # https to a request over http is a proxy's that does not say so.
    return bool(separator) and scheme in (("https",) if secure else ("http", "https")) and host in allowed_hosts


def _route_refusal(method: str, path: str) -> Refusal | None:
    if not _PLAIN_PATH.fullmatch(path):
        return refusal_of(404, PathNotFound)
    allow = ("GET", "HEAD") if path.startswith(STATIC) else ROUTES.get(path, ())
    if method not in METHODS or (allow and method not in allow):
        return refusal_of(405, MethodNotAllowed, allow=allow)
    return None if allow else refusal_of(404, PathNotFound)


def _body_refusal(method: str, path: str, headers: Headers, length: int | None, limits: WebLimits) -> Refusal | None:
    if length == 0:
        return None
    if method not in ("POST", "PUT"):
        return refusal_of(400, UnexpectedBody)
    types = headers.get("content-type", ())
    if len(types) != 1 or not _JSON.fullmatch(types[0].strip()):
        return refusal_of(415, NotJson)
    return BODY_TOO_LARGE if length is not None and length > body_limit(method, path, limits) else None
