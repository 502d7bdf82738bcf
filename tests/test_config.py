"""
The configuration: a table of TOML texts and what they mean or why they are refused.
"""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.access.forwarding import NOTHING_BEFORE_US, Front, parse_trusted
from m3u8svc.access.passwords import hash_password, is_right
from m3u8svc.access.roles import Role
from m3u8svc.config import Configuration, default_home, load_configuration, with_flags
from m3u8svc.errors import ConfigError
from m3u8svc.tasks.concurrency import Ceilings
from m3u8svc.tasks.plugins import PluginChoice
from m3u8svc.tasks.reach import Allowed
from m3u8svc.tasks.reserve import Reserve
from m3u8svc.tasks.task import SETTING_NAMES, Settings, SystemSettings

SECRET = "hunter2"
ENVIRON = {
    "PASSWORD": SECRET,
    "PORT": "1080",
    "ON": "true",
    "PLACE": "nas.example",
    "YES": "yes",
    "BIG": "9" * 30,
    "EMPTY": "",
    "NOT_UTF8": "\udcff",
}


def read_file(path: str) -> str:
    """A small file system."""
    if path == "binary":
        return b"\xff".decode()
    return (
        {"secret": f"{SECRET}\r\n", "two": "a\nb\n"}[path]
        if path in ("secret", "two")
        else Path("/nowhere").read_text()
    )


def load(text: str) -> Configuration:
    """The configuration of a text in this environment."""
    return load_configuration(text, environ=ENVIRON, read_file=read_file)


def problems_of(call: Callable[[], Any]) -> dict[str, str]:
    """What a refused configuration says, by place; its text holds all of it and no secret."""
    with pytest.raises(ConfigError) as caught:
        call()
    said = caught.value.text("en") + caught.value.text("zh") + repr(caught.value.fields)
    assert SECRET not in said
    problems = dict(caught.value.fields["problems"])  # type: ignore[call-overload]
    assert [] == [where for where in problems if where not in said]
    return problems


EVERYTHING = """
listen = ["tcp:0", "unix:/run/m3u8svc.sock"]
home = "/var/lib/m3u8svc"
save_dir = "~/Videos"
save_roots = ["/srv", "~/more"]
max_active = 1000
max_connections = 10000
max_connections_per_host = 1
database = "postgresql+psycopg://me:pw@db/m3u8"

[settings]
save_location = "/srv/videos"
temp_directory = "~/tmp"
download_threads = 1000
skip_ts_info = "1,92-100"
keep_ts_files = true
no_merge_ts = true
log_skipped_ts = true
allow_insecure_https = true
proxy_type = "socks5"
proxy_host = "proxy.example"
proxy_port = 65535
proxy_username = "me"
proxy_password = {"$env" = "PASSWORD"}
use_server_file_time = true
debug_log = true
merger = "ts"
storage = "shelf"
variant = "height<=720 / best"
audio = "en,fr"
subtitles = "all"
subtitle_files = "srt, vtt"
on_param_change = "split"
low_disk = true
report = true
header_hosts = ["CDN.example", "*.example.org:8443"]
limit_rate = "5M"
limit_rate_per_host = 2000000
limit_schedule = "Mon-Fri 08:00-18:00 2M"

[limits]
disk_reserve = "3%"

[network]
mode = "strict"
allow = ["192.168.1.20:8080", "10.0.0.0/8:80,443", {"$env" = "PLACE"}]

[plugins.notify]
token = {"$file" = "secret"}
rooms = [{"$env" = "ON"}, {name = "二", when = 2026-01-01}]
"""


class TestLoading:
    """What is accepted."""

    def test_nothing_is_the_defaults(self) -> None:
        """An empty file means the defaults, which are those of a configuration made of nothing."""
        assert Configuration() == load("") == load("\ufeff# only a comment\r\n[settings]\n[plugins]\n")
        assert Configuration(
            listen=("tcp:8080:interface=127.0.0.1",),
            home=str(default_home()),
            save_dir="~/Downloads/m3u8svc",
            max_active=3,
            max_connections=256,
            max_connections_per_host=64,
            database="",
            system=SystemSettings(),
            choice=PluginChoice(),
            plugins={},
        ) == load("")

    def test_every_key(self) -> None:
        """Every key of the file arrives, with what the environment and files hold."""
        loaded = load(EVERYTHING)
        assert Reserve(share=0.03) == loaded.reserve
        assert "strict" == loaded.network_mode
        assert (
            Allowed(network=ip_network("192.168.1.20"), ports=frozenset({8080})),
            Allowed(network=ip_network("10.0.0.0/8"), ports=frozenset({80, 443})),
            Allowed(name="nas.example"),
        ) == loaded.network_allow
        settings = Settings(
            save_location="/srv/videos",
            temp_directory="~/tmp",
            download_threads=1000,
            skip_ts_info="1,92-100",
            keep_ts_files=True,
            no_merge_ts=True,
            log_skipped_ts=True,
            allow_insecure_https=True,
            proxy_type="socks5",
            proxy_host="proxy.example",
            proxy_port=65535,
            proxy_username="me",
            proxy_password=SECRET,
            use_server_file_time=True,
            debug_log=True,
        )
        assert settings == loaded.system.settings
        assert {
            "merger": "ts",
            "storage": "shelf",
            "variant": "height<=720 / best",
            "audio": "en,fr",
            "subtitles": "all",
            "subtitle_files": "vtt,srt",
            "on_param_change": "split",
            "low_disk": True,
            "report": True,
            "header_hosts": ("cdn.example", "*.example.org:8443"),
            "plugins": {},
        } == loaded.system.extensions
        assert {
            "limit_rate": 5 * 1024**2,
            "limit_rate_per_host": 2_000_000,
            "limit_schedule": "Mon-Fri 08:00-18:00 2M",
        } == loaded.system.limits
        assert [] == [name for name in SETTING_NAMES if getattr(settings, name) == getattr(Settings(), name)]
        assert {"notify"} == loaded.plugins.keys()
        rooms = loaded.plugins["notify"]["rooms"]
        assert (SECRET, "true", "二") == (loaded.plugins["notify"]["token"], rooms[0], rooms[1]["name"])
        assert (("tcp:0", "unix:/run/m3u8svc.sock"), "/var/lib/m3u8svc", "~/Videos", 1000) == (
            loaded.listen,
            loaded.home,
            loaded.save_dir,
            loaded.max_active,
        )
        assert Ceilings(per_host=1, in_all=10_000) == loaded.ceilings
        assert "postgresql+psycopg://me:pw@db/m3u8" == loaded.database

    def test_what_is_kept_is_plain(self) -> None:
        """Values from outside are ordinary text afterwards, for settings, plugins and lists alike."""
        loaded = load(
            'listen = [{"$env" = "ON"}]\n[settings]\nproxy_password = {"$env" = "ON"}\n'
            + "[plugins.a]\nb={'$env'='ON'}"
        )
        found = [loaded.listen[0], loaded.system.settings.proxy_password, loaded.plugins["a"]["b"]]
        assert [(str, "true")] * 3 == [(type(each), each) for each in found]

    @pytest.mark.parametrize(
        ("text", "name", "value"),
        [
            ('proxy_port = {"$env" = "PORT"}', "proxy_port", 1080),
            ('keep_ts_files = {"$env" = "ON"}', "keep_ts_files", True),
            ('proxy_username = {"$env" = "EMPTY"}', "proxy_username", ""),
            ('proxy_username = {"$env" = "PORT"}', "proxy_username", "1080"),
            ('proxy_type = ""', "proxy_type", "none"),
            ("download_threads = 0", "download_threads", 0),
            ('proxy_type = "http"\nproxy_host = "::1"\nproxy_port = 1', "proxy_host", "::1"),
        ],
    )
    def test_a_setting(self, text: str, name: str, value: object) -> None:
        """A setting arrives with the type of its field."""
        found = getattr(load(f"[settings]\n{text}").system.settings, name)
        assert (value, type(value)) == (found, type(found))

    def test_nothing_secret_in_a_repr(self) -> None:
        """Passwords, the database's URL and plugins' tables are not in the repr of a configuration."""
        shown = repr(load(EVERYTHING))
        assert [] == [each for each in (SECRET, "pw@", "notify") if each in shown]

    def test_plugins_are_frozen(self) -> None:
        """Nobody changes a plugin's table for another."""
        with pytest.raises(TypeError):
            load(EVERYTHING).plugins["notify"]["token"] = "x"  # type: ignore[index]


REFUSED = [
    ("max_active = 0", "max_active", "must be a whole number from 1 to 1000, not 0"),
    ("max_active = 1001", "max_active", "from 1 to 1000, not 1001"),
    ("max_connections = 0", "max_connections", "must be a whole number from 1 to 10000, not 0"),
    ("max_connections_per_host = 10001", "max_connections_per_host", "from 1 to 10000, not 10001"),
    ("max_active = true", "max_active", "not True"),
    ("max_active = 3.0", "max_active", "not 3.0"),
    ('max_active = "3"', "max_active", "not '3'"),
    (f"max_active = 0x{'f' * 5000}", "max_active", "not a huge number"),
    ('max_active = {"$env" = "BIG"}', "max_active", "not ***"),
    ("listen = []", "listen", "must be a list of Twisted endpoints"),
    ('listen = "tcp:80"', "listen", "must be a list of Twisted endpoints"),
    ('listen = ["tcp:80", ""]', "listen", "must be a list of Twisted endpoints"),
    ('listen = ["tcp:80", 1]', "listen", "not ['tcp:80', 1]"),
    ('listen = [{"$env" = "PASSWORD"}, 1]', "listen", "not [***, 1]"),
    ('home = ""', "home", "must be a path"),
    ("home = 1", "home", "must be text"),
    ('save_dir = "a\\u0000b"', "save_dir", "without control characters"),
    ('database = "postgresql://me:hunter2\\u0000@h/x"', "database", "not ***"),
    ("settings = 1", "settings", "must be a table, [settings], not 1"),
    ('settings = {"$file" = "secret"}', "settings", "must be a table, [settings], not ***"),
    ("plugins = []", "plugins", "must be a table"),
    ("[plugins]\nnotify = 'hunter'", "plugins.notify", "must be a table, [plugins.notify]"),
    ("max_activ = 1", "max_activ", "did you mean max_active? known here: database, home, limits, listen, max_active,"),
    ("[setings]", "setings", "did you mean settings?"),
    ("zzz = 1", "zzz", "there is no such key; known here"),
    ('"$env" = "PASSWORD"', "$env", "there is no such key"),
    ("[settings]\nsave_dir = '/x'", "settings.save_dir", "there is no such key; known here: allow_insecure_https,"),
    ("[limits]\ndisk_reserv = 1", "limits.disk_reserv", "did you mean disk_reserve?"),
    ("[limits]\ndisk_reserve = 'much'", "limits.disk_reserve", "must be a size such as"),
    ("[limits]\ndisk_reserve = -1", "limits.disk_reserve", "must be a size such as"),
    ("[limits]\ndisk_reserve = true", "limits.disk_reserve", "must be a size such as"),
    ("limits = 1", "limits", "must be a table"),
    ("network = 1", "network", "must be a table"),
    ("[network]\nmod = 'local'", "network.mod", "did you mean mode?"),
    ("[network]\nmode = 'open'", "network.mode", "must be one of auto, local, strict, not 'open'"),
    ("[network]\nmode = true", "network.mode", "must be one of auto, local, strict, not True"),
    ("[network]\nallow = '10.0.0.1'", "network.allow", "must be a list of addresses such as"),
    ("[network]\nallow = [1]", "network.allow", "must be a list of addresses such as"),
    ("[network]\nallow = ['10.0.0.1', '10.0.0.1/8']", "network.allow", "'10.0.0.1/8' is no network; 10.0.0.0/8 is"),
    ("[network]\nallow = ['10.0.0.1:0']", "network.allow", "'10.0.0.1:0' has a port that is no whole number"),
    ("[network]\nallow = ['169.254.169.254']", "network.allow", "'169.254.169.254' is an address that is never"),
    ('[network]\nallow = [{"$env" = "BIG"}]', "network.allow", "must be a list of addresses; ***"),
    ("network_mode = 'local'", "network_mode", "there is no such key"),
    ("[settings]\nthreads = 1", "settings.threads", "did you mean download_threads?"),
    ("[settings]\nvariant = 'hight<=1'", "settings.variant", 'must be a selection (at character 1, "hight"'),
    ("[settings]\nvariant = 720", "settings.variant", "must be text without control characters, not 720"),
    ("[settings]\naudio = 'none'", "settings.audio", "there must be sound, not 'none'"),
    ("[settings]\naudio = 'en,,'", "settings.audio", "must be a selection (at character 4"),
    ("[settings]\nsubtitles = 'en,none'", "settings.subtitles", "must be a selection (at character 4"),
    ("[settings]\nsubtitle_files = 'ass'", "settings.subtitle_files", "it could be: vtt, srt, none), not 'ass'"),
    ("[settings]\non_param_change = 'cut'", "settings.on_param_change", "must be one of keep, split, not 'cut'"),
    ("[settings]\non_param_change = ['keep']", "settings.on_param_change", "must be one of keep, split"),
    ("[settings]\nlow_disk = 'yes'", "settings.low_disk", "must be true or false"),
    ("[settings]\nlimit_rate = 5", "settings.limit_rate", "must be 0 for no limit, or 1024 to 1000000000000 bytes"),
    ("[settings]\nlimit_rate = '2X'", "settings.limit_rate", "such as '2M', not '2X'"),
    ("[settings]\nlimit_rate_per_host = true", "settings.limit_rate_per_host", "must be 0 for no limit"),
    (
        "[settings]\nlimit_schedule = 'noon 2M'",
        "settings.limit_schedule",
        "must be a schedule (noon 2M: should be like",
    ),
    ("[settings]\nlimit_schedule = 2", "settings.limit_schedule", "must be text"),
    ("[settings]\nheader_hosts = ['*.com']", "settings.header_hosts", "must be a list of hosts such as"),
    ("[settings]\nheader_hosts = 'cdn.example'", "settings.header_hosts", "must be a list of hosts such as"),
    ("save_roots = []", "save_roots", "must be a list of directories"),
    ("save_roots = '/srv'", "save_roots", "must be a list of directories"),
    ("save_roots = ['srv']", "save_roots", "must be an absolute path or begin with ~/"),
    ("save_roots = ['/srv', '/etc']", "save_roots", "must not be one of the system's directories"),
    ("save_roots = ['/srv', '']", "save_roots", "must be a path"),
    ("[settings]\nreport = 1", "settings.report", "must be true or false"),
    ("[settings]\nkey = '00'", "settings.key", "there is no such key"),
    ("[settings]\ndownload_threads = -1", "settings.download_threads", "from 0 to 1000, not -1"),
    ("[settings]\ndownload_threads = 1001", "settings.download_threads", "from 0 to 1000, not 1001"),
    ("[settings]\nproxy_port = 65536", "settings.proxy_port", "from 0 to 65535"),
    ("[settings]\nproxy_type = 'socks4'", "settings.proxy_type", "one of none, http, https, socks5, not 'socks4'"),
    ("[settings]\nproxy_type = 'http'\nproxy_port = 1", "settings.proxy_host", "is needed with proxy_type http"),
    ("[settings]\nproxy_type = 'http'\nproxy_host = 'h'", "settings.proxy_port", "is needed with proxy_type http"),
    ("[settings]\nproxy_host = 'h'", "settings.proxy_type", "is needed with proxy_host: one of http, https, socks5"),
    ("[settings]\nproxy_host = 'http://h'", "settings.proxy_host", "only a host name or address"),
    ("[settings]\nproxy_password = 12345", "settings.proxy_password", "not ***"),
    (f"[settings]\nproxy_password = '{SECRET * 40}'", "settings.proxy_password", "at most 255 bytes long, not ***"),
    (f"[settings]\nproxy_username = ['{SECRET}']", "settings.proxy_username", "not ***"),
    (
        "[settings]\nsave_location = '/tmp/../etc'",
        "settings.save_location",
        "must not be one of the system's directories",
    ),
    ("[settings]\nsave_location = 'videos'", "settings.save_location", "must be an absolute path or begin with ~/"),
    ("[settings]\nskip_ts_info = '1,x'", "settings.skip_ts_info", "invalid item"),
    ("[settings]\nkeep_ts_files = 'true'", "settings.keep_ts_files", "must be true or false, not 'true'"),
    ("[settings]\nkeep_ts_files = 1", "settings.keep_ts_files", "must be true or false, not 1"),
    ('[settings]\nkeep_ts_files = {"$env" = "YES"}', "settings.keep_ts_files", "not ***"),
    ('[settings]\nkeep_ts_files = {token = "hunter2"}', "settings.keep_ts_files", "not a table"),
    ('[settings]\nproxy_password = {"$env" = "NOPE"}', "settings.proxy_password", "variable NOPE is not set"),
    ('[settings]\nproxy_password = {"$file" = "nope"}', "settings.proxy_password", "nope cannot be read: No such file"),
    ('[settings]\nproxy_password = {"$file" = "binary"}', "settings.proxy_password", "binary is not UTF-8 text"),
    ('[settings]\nproxy_password = {"$file" = "two"}', "settings.proxy_password", "without control characters"),
    ('[settings]\nproxy_password = {"$env" = "A", "$file" = "b"}', "settings.proxy_password", "and nothing else"),
    ('[settings]\nproxy_password = {"$env" = "NOT_UTF8"}', "settings.proxy_password", "without control characters"),
    ('[settings]\nproxy_password = {"$env" = 1}', "settings.proxy_password", "and nothing else"),
    ('[plugins.a]\nb = [1, {c = {"$env" = "NOPE"}}]', "plugins.a.b[1].c", "variable NOPE is not set"),
    ('[plugins]\na = {"$env" = "NOPE"}', "plugins.a", "variable NOPE is not set"),
]


class TestRefusals:
    """What is refused, and how it says so."""

    @pytest.mark.parametrize(("text", "where", "reason"), REFUSED, ids=[where for _, where, _ in REFUSED])
    def test_refused(self, text: str, where: str, reason: str) -> None:
        """One wrong thing is one problem that names the key, the value unless it is secret, and what is allowed."""
        problems = problems_of(lambda: load(text))
        assert [where] == list(problems)
        assert reason in problems[where]

    @pytest.mark.parametrize("name", SETTING_NAMES)
    def test_no_setting_takes_another_type(self, name: str) -> None:
        """Every setting has a rule that refuses the other TOML types."""
        field = getattr(attrs.fields(Settings), name)
        for text, kind in [("1.5", float), ("7", int), ("true", bool), ("'none'", str), ("[]", list), ("{}", dict)]:
            if kind is not field.type:
                assert [f"settings.{name}"] == list(problems_of(lambda t=text: load(f"[settings]\n{name} = {t}")))

    def test_all_at_once(self) -> None:
        """Everything that is wrong comes in one error, each with its place."""
        text = 'max_active = 0\nhom = 1\n[settings]\nproxy_type = "x"\nproxy_host = 1\ndebug_log = {"$env" = "NOPE"}'
        expected = {"max_active", "hom", "settings.proxy_type", "settings.proxy_host", "settings.debug_log"}
        assert expected == problems_of(lambda: load(text)).keys()

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("listen = [", "end of document"),
            ("a = 1\na = 2\nb = 3", "line 2"),
            (f"a = {'[' * 3000}", "nested too deeply"),
            (f"a = {'9' * 5000}", "4300 digits"),
            ("a = \x00", "line 1"),
        ],
    )
    def test_not_toml(self, text: str, reason: str) -> None:
        """A text that is not TOML is an error with its line."""
        with pytest.raises(ConfigError, match="TOML") as caught:
            load(text)
        assert reason in str(caught.value)

    @given(st.text(max_size=40) | st.sampled_from(EVERYTHING.splitlines()).map(lambda line: line.replace('"', "'", 1)))
    def test_any_text(self, text: str) -> None:
        """Whatever the text, it is a configuration or a ConfigError."""
        try:
            load(text)
        except ConfigError:
            pass


class TestFlags:
    """The command line."""

    def test_flags_win(self) -> None:
        """A flag that is given wins over the file; one that is not leaves it."""
        loaded = load("max_active = 5\nhome = '/a'")
        expected = attrs.evolve(loaded, home="/b", listen=("tcp:0",), database="sqlite:///x")
        assert expected == with_flags(loaded, home="/b", listen=["tcp:0"], database="sqlite:///x", max_active=None)

    def test_wrong_flags(self) -> None:
        """A flag is held to the rules of its key, and named as the flag; all at once."""
        wrong = {"max_active": 0, "max_connections": 0, "max_connections_per_host": 0, "save_dir": "", "listen": ()}
        problems = problems_of(lambda: with_flags(Configuration(), **wrong))
        assert {f"--{name.replace('_', '-')}" for name in wrong} == problems.keys()

    def test_a_flag_nobody_has(self) -> None:
        """A name that is no field is a mistake of ours, not of the operator."""
        with pytest.raises(TypeError):
            with_flags(Configuration(), colour="red")


def test_a_configuration_knows_its_file() -> None:
    """Where it was read from, so that nothing is saved beside it; nowhere without a file."""
    loaded = load_configuration("max_active = 5", environ={}, read_file=str, file="/srv/m3u8svc.toml")
    assert ("/srv/m3u8svc.toml", "") == (loaded.file, Configuration().file)


# -- Who may use it --------------------------------------------------------------------------------------------------

HASH = str(hash_password(SECRET, b"0123456789abcdef"))


def loaded(text: str) -> Configuration:
    """What it means, where $file and $env have their usual values."""
    environ = {**ENVIRON, "LONG": "long enough", "HASH": HASH}
    return load_configuration(text, environ=environ, read_file=read_file)


def test_users() -> None:
    """Name, role, and a hash: as it stands there, or of a password from outside, which is nowhere else."""
    configuration = loaded(
        f'[[users]]\nname = "me"\npassword = "{HASH}"\nrole = "admin"\n'
        '[[users]]\nname = "二@nas"\npassword = {"$env" = "LONG"}\n'
        '[[users]]\nname = "c"\npassword = {"$env" = "HASH"}\nrole = "reader"\n'
    )
    users = configuration.users
    assert [("me", Role.ADMIN), ("二@nas", Role.USER), ("c", Role.READER)] == [(each.name, each.role) for each in users]
    assert [True, False, True] == [is_right(SECRET, each.password) for each in users]
    assert is_right("long enough", users[1].password)
    assert "long enough" not in repr(configuration) and HASH not in repr(configuration)


def test_what_stands_before_us() -> None:
    """Proxies, base path and further names; a flag wins over the file, and leaves the rest of it."""
    text = '[web]\ntrusted_proxies = ["10.0.0.0/8", "unix"]\nbase_path = "/m3u8/"\nhosts = ["NAS.lan:8080", "[::1]"]'
    configuration = loaded(text)
    assert Front(trusted=(parse_trusted("10.0.0.0/8"), "unix"), base_path="/m3u8") == configuration.front
    assert ("nas.lan:8080", "[::1]") == configuration.hosts
    flagged = with_flags(configuration, base_path="/other")
    assert (configuration.front.trusted, "/other") == (flagged.front.trusted, flagged.front.base_path)
    assert (parse_trusted("::1"),) == with_flags(configuration, trusted_proxies=("::1",)).front.trusted
    assert NOTHING_BEFORE_US == Configuration().front == with_flags(Configuration(), max_active=1).front


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("users = 1", "users", "must be tables, each [[users]]"),
        ("users = [1]", "users", "must be tables, each [[users]]"),
        ("[users]\nname = 'me'", "users", "must be tables, each [[users]]"),
        ("[[users]]", "users[0].password", "is needed"),
        (f"[[users]]\npassword = '{HASH}'", "users[0].name", "is needed"),
        ("[[users]]\nname = 'me'\npassword = 'hunter2hunter2'", "users[0].password", "or come from"),
        ("[[users]]\nname = 'me'\npassword = '$scrypt$ln=1'", "users[0].password", "as m3u8svc password prints it"),
        ("[[users]]\nname = 'me'\npassword = {'$env' = 'PASSWORD'}", "users[0].password", "8 to 256 characters"),
        ("[[users]]\nname = 'me'\npassword = {'$env' = 'NOPE'}", "users[0].password", "NOPE is not set"),
        (f"[[users]]\nname = 'a:b'\npassword = '{HASH}'", "users[0].name", "letters, digits"),
        (f"[[users]]\nname = 'me'\npassword = '{HASH}'\nrole = 'god'", "users[0].role", "reader, user, admin"),
        (f"[[users]]\nname = 'me'\npassword = '{HASH}'\nrule = 'user'", "users[0].rule", "did you mean role?"),
        (f"[[users]]\nname = 'me'\npassword = '{HASH}'\n" * 2, "users[1].name", "another user me"),
        ("[web]\ntrusted_proxies = '10.0.0.1'", "web.trusted_proxies", "must be a list"),
        ("[web]\ntrusted_proxies = ['::1', 'nas.lan']", "web.trusted_proxies", "\"unix\"; 'nas.lan' is none"),
        ("[web]\nbase_path = 'm3u8'", "web.base_path", "must be a path such as /m3u8"),
        ("[web]\nbase_path = 1", "web.base_path", "must be text"),
        ("[web]\nhosts = ['http://nas.lan']", "web.hosts", "must be a list of names"),
        ("[web]\nhosts = ['nas.lan', '*.lan']", "web.hosts", "[\"nas.lan:8080\"]; '*.lan' is none"),
        ("[web]\nhosts = 'nas.lan'", "web.hosts", "must be a list of names"),
        ("[web]\nhost = []", "web.host", "did you mean hosts?"),
    ],
)
def test_who_may_use_it_refused(text: str, where: str, reason: str) -> None:
    """Each mistake is named where it stands, without what may be a password."""
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    problems: Any = caught.value.fields["problems"]
    assert reason in dict(problems)[where]
    assert SECRET not in str(caught.value) and HASH not in str(caught.value)


def test_flags_of_a_proxy_are_named_as_flags() -> None:
    """As they are typed."""
    with pytest.raises(ConfigError, match="--trusted-proxy: must be addresses") as caught:
        with_flags(Configuration(), trusted_proxies=("nas.lan",), base_path="m3u8")
    assert "--base-path: must be a path" in str(caught.value)
