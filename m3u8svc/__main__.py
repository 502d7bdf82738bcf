"""
``python -m m3u8svc``: the same as the console script.
"""

from m3u8svc.cli import main

if __name__ == "__main__":
    main()
