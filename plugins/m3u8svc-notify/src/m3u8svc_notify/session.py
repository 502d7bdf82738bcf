"""
Becomes another program in a session of its own, so that it can be ended with everything it started. Run as a file::

    python -I -S session.py <program> <argument>...
"""

import os
import sys

if __name__ == "__main__":
    os.setsid()
    os.execv(sys.argv[1], sys.argv[1:])
