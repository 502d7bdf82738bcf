"""
m3u8svc: give it a playlist URL, get back one verified, playable MP4.

This module imports nothing, so that looking at the version costs nothing.
"""

__version__ = "0.1.0"
