"""
What a plugin of somebody else sees of a task and a request: everything but secrets (R-PLG-3). Pure.
"""

import attrs

from m3u8svc.redact import MASK, is_secret_header
from m3u8svc.tasks.request import Request
from m3u8svc.tasks.task import Task


def task_for_plugin(task: Task, plugin: str) -> Task:
    """
    The task without proxy credentials, values of secret headers and the options meant for other plugins.
    """
    spec = task.spec
    headers = {name: (MASK,) if is_secret_header(name) else values for name, values in spec.headers.items()}
    settings = spec.settings
    if settings.proxy_username or settings.proxy_password:
        settings = attrs.evolve(settings, proxy_username=MASK, proxy_password=MASK)
    own = {name: options for name, options in spec.extensions.plugins.items() if name == plugin}
    extensions = attrs.evolve(spec.extensions, plugins=own)
    return attrs.evolve(task, spec=attrs.evolve(spec, headers=headers, settings=settings, extensions=extensions))


def request_for_plugin(request: Request) -> Request:
    """
    The request with the values of secret headers masked.
    """
    headers = tuple((name, MASK if is_secret_header(name) else value) for name, value in request.headers)
    return request if headers == request.headers else attrs.evolve(request, headers=headers)


def request_from_plugin(changed: Request, original: Request) -> Request:
    """
    What a plugin made of `request_for_plugin(original)`, with the secrets it left masked put back, in their order.

    Raises:
        ValueError: a masked header is not among those of `original`; there is nothing to put back.
    """
    secrets: dict[str, list[str]] = {}
    for name, value in original.headers:
        if is_secret_header(name):
            secrets.setdefault(name.lower(), []).append(value)
    headers = []
    for name, value in changed.headers:
        if value == MASK and is_secret_header(name):
            kept = secrets.get(name.lower())
            if not kept:
                raise ValueError(f"the header {name} is masked, and the request had none")
            value = kept.pop(0)
        headers.append((name, value))
    return attrs.evolve(changed, headers=tuple(headers))
