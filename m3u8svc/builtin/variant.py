"""
Which variant of a multivariant playlist: the default of `choose_variant`.
"""

from m3u8svc.hls.plan import best_variant
from m3u8svc.plugin import MasterPlaylist, Task, Variant, hookimpl


class BestVariant:
    """
    The best by BANDWIDTH, then by size.
    """

    @hookimpl(trylast=True)
    def choose_variant(self, master: MasterPlaylist, task: Task) -> Variant:
        """
        The best of all variants.
        """
        return best_variant(master)
