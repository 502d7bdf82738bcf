"""
What a task's user and the operator's log are told of the same thing, each in its language.
"""

import attrs


@attrs.frozen(kw_only=True)
class Told:
    """
    One remark: `zh` becomes a warning of the task, `en` stands in the log.
    """

    zh: str
    en: str
