"""
Where chance comes from: seeds that change from run to run, are printed at its end, and are the same in all its
processes. ``FAULTS_SEED=… HOSTILE_SEED=… M3U8SVC_SEED=…`` repeat a run.
"""

import os
import random

FAULTS = "FAULTS_SEED"
HOSTILE = "HOSTILE_SEED"
OTHERS = "M3U8SVC_SEED"


def fresh() -> str:
    """
    A seed nobody chose.
    """
    return str(random.SystemRandom().randrange(10**6))


def seed(name: str) -> str:
    """
    The one of this run; drawn when first asked for, and inherited by the processes that are started afterwards.
    """
    return os.environ.setdefault(name, fresh())


def drawn() -> str:
    """
    All of them, in the words that repeat the run.
    """
    return " ".join(f"{name}={seed(name)}" for name in (FAULTS, HOSTILE, OTHERS))
