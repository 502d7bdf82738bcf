"""
What a task says that its playlist has wrong, as `hls.overrides` takes it.
"""

from m3u8svc.hls.overrides import Overrides, parse_iv_text, parse_key_text
from m3u8svc.tasks.task import Extensions


def overrides_of(extensions: Extensions) -> Overrides:
    """
    The overrides of one task; the door has checked their texts.
    """
    return Overrides(
        key=parse_key_text(extensions.key) if extensions.key else None,
        iv=parse_iv_text(extensions.iv) if extensions.iv else None,
        append_query=extensions.append_query,
        base_url=extensions.base_url,
    )
