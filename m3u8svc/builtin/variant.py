"""
Which variant of a multivariant playlist: the default of `choose_variant`.
"""

from m3u8svc.hls.select import choose, parse_variant_choice
from m3u8svc.plugin import MasterPlaylist, Task, Variant, hookimpl


class ChosenVariant:
    """
    The one the task asks for: the best, if it does not say.
    """

    @hookimpl(trylast=True)
    def choose_variant(self, master: MasterPlaylist, task: Task) -> Variant:
        """
        What the task's expression means here; `NoSuchVariant` if it means nothing.
        """
        return choose(master, parse_variant_choice(task.spec.extensions.variant))
