"""
What each command's help ends with: examples that work as they stand, then the exit statuses. A test reads every line
as the program does; docs/cli.md shows the same.
"""

from collections.abc import Mapping
from typing import Any  # Any: click's own annotations

import attrs

from m3u8svc.cli import words
from m3u8svc.cli.words import Phrase


@attrs.frozen
class Example:
    """
    A line to type, and what it is for.
    """

    line: str
    zh: str
    en: str

    @property
    def what(self) -> str:
        """What it is for, in the user's language."""
        return Phrase(zh=self.zh, en=self.en).said()


STREAM = "https://example.com/film/index.m3u8"

EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "serve": (
        Example("m3u8svc serve", "只在本机使用，页面在 http://127.0.0.1:8080/", "for this machine only, with its page"),
        Example(
            "m3u8svc serve --listen tcp:8080:interface=192.168.1.10 --save-dir /srv/films",
            "局域网内使用；先用 m3u8svc token create 生成令牌",
            "for the local network; make a token first: m3u8svc token create",
        ),
        Example("m3u8svc serve --config m3u8svc.toml --log-file service.log", "使用配置文件", "with a configuration"),
    ),
    "get": (
        Example(f"m3u8svc get {STREAM} -o film.mp4", "下载；中断后再输入同一行", "one film; the same line resumes"),
        Example(
            f"m3u8svc get -f 'height<=720 / worst' --audio en,fr --subs en {STREAM}",
            "选择码流、音轨和字幕",
            "which variant, sound and subtitles",
        ),
        Example(
            f"m3u8svc get --header 'Referer: https://example.com/' --proxy socks5h://127.0.0.1:1080 {STREAM}",
            "请求头和代理",
            "with a header, through a proxy",
        ),
        Example(
            "m3u8svc get -i links.txt -o 'films/{host}/{name}.{ext}'",
            "列表中的每一个，按模板命名",
            "every link of a list, named by a template",
        ),
        Example(f"m3u8svc get --dry-run -f worst {STREAM}", "只看看", "only look"),
    ),
    "plan": (
        Example(f"m3u8svc plan {STREAM}", "有什么可下载", "what there is"),
        Example(
            f"m3u8svc plan -f 720p --skip 1-12 --json {STREAM}", "选项会选中什么，JSON", "what these choose, as JSON"
        ),
    ),
    "curl": (
        Example(
            "m3u8svc curl 'https://example.com/film/index.m3u8' -H 'Referer: https://example.com/' --compressed",
            "在浏览器复制的命令前加上 m3u8svc",
            "put m3u8svc before what the browser copied",
        ),
        Example(
            "m3u8svc curl --get 'https://example.com/film/index.m3u8' -b 'session=1' -o film.mp4",
            "不用服务，直接下载",
            "download it here, without a service",
        ),
        Example("m3u8svc curl -", "从标准输入读取，可粘贴 Windows 格式", "read it from here; also Windows quoting"),
    ),
    "demo": (Example("m3u8svc demo", "试一次", "see it work"),),
    "add": (
        Example(f"m3u8svc add {STREAM} --name film", "添加一个任务", "a new task"),
        Example(
            f"m3u8svc add {STREAM} --save-dir /srv/films --limit-rate 2M --priority 10",
            "指定目录、速率和优先级",
            "where to, how fast, how soon",
        ),
    ),
    "list": (
        Example("m3u8svc list --status failed", "失败的任务", "what failed"),
        Example(
            "m3u8svc list --search episode --sort size --reverse --limit 10",
            "名称含 episode 的，最大的在前",
            "the largest",
        ),
        Example("m3u8svc list --json | jq -r '.[].filename'", "给程序用", "for programs"),
    ),
    "show": (Example("m3u8svc show 1c15", "ID 只写开头", "by the start of its id"),),
    "pause": (Example("m3u8svc pause 1c15 77aa", "暂停两个", "two of them"),),
    "resume": (
        Example("m3u8svc resume 1c15", "继续或重试", "go on, or try again"),
        Example(f"m3u8svc resume 1c15 --url '{STREAM}?token=new'", "链接已过期", "its link has expired"),
    ),
    "move": (Example("m3u8svc move 1c15 first", "下一个就是它", "it is next"),),
    "priority": (Example("m3u8svc priority 1c15 10", "优先", "before the others"),),
    "remove": (
        Example("m3u8svc remove 1c15", "保留文件", "the file stays"),
        Example("m3u8svc remove --files 1c15 77aa", "连同文件", "with their files"),
    ),
    "verify": (
        Example("m3u8svc verify film.mp4", "这里的文件", "a file here"),
        Example("m3u8svc verify --quick 1c15", "任务的结果，不解码", "a task's result, without decoding"),
    ),
    "repair": (Example("m3u8svc repair 1c15", "补齐缺失的分片", "fetch what it lacks"),),
    "watch": (
        Example("m3u8svc watch", "看所有任务", "all of them"),
        Example("m3u8svc watch 1c15 --until-done", "等它结束", "until it is over"),
        Example("m3u8svc watch --json | jq -c '{id, progress}'", "每次变化一行 JSON", "a line of JSON for each change"),
    ),
    "explain": (
        Example("m3u8svc explain http_4xx", "什么意思，怎么办", "what it means and what to do"),
        Example("m3u8svc explain", "全部错误代码", "all codes"),
    ),
    "doctor": (
        Example("m3u8svc doctor", "检查", "look at everything"),
        Example("m3u8svc doctor --bundle report.zip --log-file service.log", "附在问题报告中", "to send with a report"),
    ),
    "plugins": (Example("m3u8svc plugins", "哪些在工作", "which of them work"),),
    "token": (Example("m3u8svc token create --name phone", "第一个令牌", "the first one"),),
    "token create": (
        Example("m3u8svc token create --name phone", "给手机", "for a phone"),
        Example("m3u8svc token create --role reader > token.txt", "只能查看", "one that may only look"),
    ),
    "token list": (Example("m3u8svc token list", "有哪些", "which there are"),),
    "token revoke": (Example("m3u8svc token revoke phone", "手机丢了", "the phone is lost"),),
    "password": (Example("m3u8svc password", "输出用于 [[users]]", "what goes into [[users]]"),),
    "completion": (
        Example("m3u8svc completion bash > ~/.local/share/bash-completion/completions/m3u8svc", "bash", "bash"),
        Example(
            "m3u8svc completion zsh > ~/.zfunc/_m3u8svc", "zsh（fpath 含 ~/.zfunc）", "zsh, with ~/.zfunc in fpath"
        ),
        Example("m3u8svc completion fish > ~/.config/fish/completions/m3u8svc.fish", "fish", "fish"),
    ),
}
"""By command, a subcommand with its group's name before it."""


def taught(command: str, *behind: Phrase) -> Any:
    """
    The end of a command's help: its examples, then these as one paragraph.
    """
    lines = [f"  {each.line}\n      {each.what}" for each in EXAMPLES[command]]
    # A paragraph that begins with a backspace is not wrapped by click.
    examples = "\n".join(["\b", words.EXAMPLES.said(), *lines])
    return f"{examples}\n\n{' '.join(each.said() for each in behind)}"
