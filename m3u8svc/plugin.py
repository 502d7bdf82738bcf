"""
The public import for plugin authors: the marker, the values hooks see, the errors they may raise.
"""

from m3u8svc.errors import ConfigError, M3u8svcError, MergeError, NotConfigured, OptionError
from m3u8svc.hls.playlist import MasterPlaylist, MediaPlaylist, Segment, Variant
from m3u8svc.hookspecs import (
    Gap,
    MediaFile,
    MergeJob,
    Merger,
    MergeResult,
    Part,
    Services,
    Skip,
    Storage,
    hookimpl,
)
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.retry import FailureDecision, GiveUp, Retry, SkipSegment
from m3u8svc.tasks.task import Status, Task

__all__ = [
    "ConfigError",
    "FailureDecision",
    "Gap",
    "GiveUp",
    "M3u8svcError",
    "MasterPlaylist",
    "MediaFile",
    "MediaPlaylist",
    "MergeError",
    "MergeJob",
    "MergeResult",
    "Merger",
    "NotConfigured",
    "OptionError",
    "Part",
    "Purpose",
    "Request",
    "Retry",
    "Segment",
    "Services",
    "Skip",
    "SkipSegment",
    "Status",
    "Storage",
    "Task",
    "Variant",
    "hookimpl",
]
