"""
What a plugin of somebody else sees of a task, its segments and a request: everything but secrets (R-PLG-3). Pure.
"""

from urllib.parse import urlsplit, urlunsplit

import attrs

from m3u8svc.hls.playlist import Segment
from m3u8svc.redact import MASK, is_secret_header
from m3u8svc.tasks.request import Request
from m3u8svc.tasks.task import Task


def task_for_plugin(task: Task, plugin: str) -> Task:
    """
    The task without proxy credentials, values of secret headers, its stream's key and the options meant for other
    plugins.
    """
    spec = task.spec
    headers = {name: (MASK,) if is_secret_header(name) else values for name, values in spec.headers.items()}
    settings = spec.settings
    if settings.proxy_username or settings.proxy_password:
        settings = attrs.evolve(settings, proxy_username=MASK, proxy_password=MASK)
    own = {name: options for name, options in spec.extensions.plugins.items() if name == plugin}
    extensions = attrs.evolve(
        spec.extensions,
        plugins=own,
        key=spec.extensions.key and MASK,
        iv=spec.extensions.iv and MASK,
        base_url=_without_user(spec.extensions.base_url),
    )
    seen = attrs.evolve(spec, url=_without_user(spec.url), headers=headers, settings=settings, extensions=extensions)
    return attrs.evolve(task, spec=seen)


def segment_for_plugin(segment: Segment) -> Segment:
    """
    The segment without a key that the user gave; one that the playlist names is fetched, and not in it.
    """
    init = segment.init
    if init is not None and init.key is not None and init.key.value is not None:
        segment = attrs.evolve(segment, init=attrs.evolve(init, key=attrs.evolve(init.key, value=None)))
    if segment.key is not None and segment.key.value is not None:
        segment = attrs.evolve(segment, key=attrs.evolve(segment.key, value=None))
    return segment


def request_for_plugin(request: Request) -> Request:
    """
    The request with the values of secret headers masked.
    """
    headers = tuple((name, MASK if is_secret_header(name) else value) for name, value in request.headers)
    return attrs.evolve(request, url=_without_user(request.url), headers=headers)


def request_from_plugin(changed: Request, original: Request) -> Request:
    """
    What a plugin made of `request_for_plugin(original)`, with the secrets it left masked put back, in their order. They
    stay behind when it goes to another server; a check of certificates cannot be turned off, and its reach not widened.

    Raises:
        ValueError: a masked header is not among those of `original`; there is nothing to put back.
    """
    secrets: dict[str, list[str]] = {}
    for name, value in original.headers:
        if is_secret_header(name):
            secrets.setdefault(name.lower(), []).append(value)
    moved = _server(changed.url) != _server(original.url)
    headers = []
    for name, value in changed.headers:
        if value == MASK and is_secret_header(name):
            kept = secrets.get(name.lower())
            if not kept:
                raise ValueError(f"the header {name} is masked, and the request had none")
            value = kept.pop(0)
            if moved:
                continue
        headers.append((name, value))
    url = original.url if changed.url == _without_user(original.url) else changed.url
    insecure = changed.insecure and original.insecure
    reach = min(changed.reach, original.reach)
    return attrs.evolve(changed, url=url, headers=tuple(headers), insecure=insecure, reach=reach)


def _server(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.hostname, parts.port


def _without_user(url: str) -> str:
    """A URL without user name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else url
