"""
What the service says when something is its own failure: what it could not do, and not why. Pure.
"""

from collections.abc import Mapping

OUR_FAULT: Mapping[tuple[str, str], tuple[str, str]] = {
    ("POST", "/api/tasks"): ("保存任务失败", "the task could not be stored"),
    ("GET", "/api/tasks"): ("获取任务失败", "the tasks could not be read"),
    ("GET", "/api/tasks/segments"): ("获取分片状态失败", "the segments of the task could not be read"),
    ("GET", "/api/tasks/live"): ("获取任务动态失败", "what the task does could not be read"),
    ("GET", "/api/tasks/play"): ("播放任务失败", "the task could not be played"),
    ("GET", "/api/tasks/media"): ("播放任务失败", "the task could not be played"),
    ("GET", "/api/tasks/picture"): ("生成画面失败", "the picture could not be made"),
    ("GET", "/api/tasks/file"): ("读取结果文件失败", "the result file could not be read"),
    ("HEAD", "/api/tasks/file"): ("读取结果文件失败", "the result file could not be read"),
    ("PUT", "/api/tasks"): ("更新任务失败", "the task could not be changed"),
    ("DELETE", "/api/tasks"): ("删除任务失败", "the task could not be removed"),
    ("GET", "/api/counts"): ("统计任务失败", "the tasks could not be counted"),
    ("POST", "/api/settings"): ("保存设置失败", "the settings could not be stored"),
    ("GET", "/api/settings"): ("获取设置失败", "the settings could not be read"),
    ("GET", "/api/plugins"): ("获取插件失败", "the plugins could not be read"),
}
"""What a 500 says, by method and path, and the same in English."""
ANYWHERE = ("服务器内部错误", "internal error of the service")
NOT_READY = ("暂时无法接受任务", "no task can be taken now")
"""What /readyz says."""
