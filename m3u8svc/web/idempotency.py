"""
The header that names a request which makes a task, so that it can be sent again when its answer was lost.
"""

import hashlib
import re
from collections.abc import Sequence

from m3u8svc.errors import InvalidRequest
from m3u8svc.tasks.creation import Creation
from m3u8svc.wording import Said

HEADER = b"Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
"""The header of an answer that was given before."""

_KEY = re.compile(rb"[!-~]{1,255}")


def creation_of(values: Sequence[bytes], body: bytes) -> Creation | None:
    """
    The name of a request with these values of `HEADER` and this body; None if it has none. Requests are the same if
    their bodies are, byte for byte.

    Raises:
        InvalidRequest: the header is there twice, or is no text of 1 to 255 visible ASCII characters.
    """
    if not values:
        return None
    if len(values) > 1:
        raise InvalidRequest(problems=Said("Idempotency-Key: 只能出现一次", "Idempotency-Key: may be there only once"))
    if not _KEY.fullmatch(values[0]):
        raise InvalidRequest(
            problems=Said(
                "Idempotency-Key: 必须是 1 到 255 个可见的 ASCII 字符",
                "Idempotency-Key: must be 1 to 255 visible ASCII characters",
            )
        )
    return Creation(key=values[0].decode("ascii"), digest=hashlib.sha256(body).hexdigest())
