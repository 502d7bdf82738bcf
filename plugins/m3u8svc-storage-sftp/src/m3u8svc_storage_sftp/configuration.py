"""
What the operator configures and what a request may ask for, as values. Reads the files of keys that it names.
"""

import difflib
import io
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any  # a plugin's configuration and options are its own JSON

import attrs
import paramiko

from m3u8svc.plugin import ConfigError, NotConfigured, OptionError, Said

TABLE = "plugins.storage-sftp"
LONGEST_DIRECTORY_BYTES = 1024
LONGEST_OPTION_BYTES = 512
SSH_PORT = 22

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_KEY_CLASSES: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


@attrs.frozen(kw_only=True)
class Configuration:
    """
    One server, how to log in, which host keys are its own, and where on it results go. `directory` "" is where a login
    begins. Either `password` or `private_key`, either `host_key` or `known_hosts`.
    """

    host: str
    username: str
    port: int = SSH_PORT
    password: str = attrs.field(default="", repr=False)
    private_key: paramiko.PKey | None = attrs.field(default=None, repr=False)
    host_key: paramiko.PKey | None = None
    known_hosts: Path | None = None
    directory: str = ""
    timeout_s: int = 30

    @property
    def address(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def host_keys(self) -> Sequence[paramiko.PKey]:
        """
        The keys the server may identify itself by; none when it is not in the file. Blocking.

        Raises:
            OSError: the file cannot be read.
        """
        if self.known_hosts is None:
            return [] if self.host_key is None else [self.host_key]
        name = self.host if self.port == SSH_PORT else f"[{self.host}]:{self.port}"
        found = paramiko.HostKeys(str(self.known_hosts)).lookup(name)
        return [] if found is None else list(found.values())


def read_configuration(table: Mapping[str, Any]) -> Configuration:
    """
    The table as a value.

    Raises:
        NotConfigured: there is no table.
        ConfigError: every wrong key with its value and what is allowed; values of secrets are not shown.
    """
    if not table:
        raise NotConfigured(reason=f"there is no [{TABLE}] in the configuration")
    problems = [_unknown(key) for key in table if key not in _KEYS]
    values: dict[str, Any] = {}
    for key, (read, allowed, secret) in _KEYS.items():
        if key not in table:
            continue
        value = read(table[key])
        if value is None:
            problems.append(f"{key} must be {allowed}" + ("" if secret else f", not {table[key]!r}"))
        else:
            values[key] = value
    problems += _missing(table)
    passphrase = values.pop("passphrase", None)
    if "private_key" in values:
        key_or_problem = _private_key(values["private_key"], passphrase)
        if isinstance(key_or_problem, str):
            problems.append(key_or_problem)
        values["private_key"] = key_or_problem
    if problems:
        raise ConfigError(where=TABLE, reason="; ".join(problems))
    return Configuration(**values)


def read_options(options: Mapping[str, Any]) -> str:
    """
    The directory a request asks for, below the configured one; "" without.

    Raises:
        OptionError: an option there is none of, or a directory that leads elsewhere.
    """
    for name in options:
        if name != "directory":
            raise OptionError(
                path=name,
                reason=Said("没有这个选项，只有 directory", "there is no such option; directory is the only one"),
            )
    directory = _below(options.get("directory", ""))
    if directory is None:
        reason = Said(
            f"必须是 {LONGEST_OPTION_BYTES} 字节以内的相对路径，如 2026/films，不含 ..",
            f"must be a relative path of at most {LONGEST_OPTION_BYTES} bytes, such as 2026/films, without ..",
        )
        raise OptionError(path="directory", reason=reason)
    return directory


def _missing(table: Mapping[str, Any]) -> list[str]:
    problems = [f"{key} is missing" for key in ("host", "username") if key not in table]
    if ("password" in table) == ("private_key" in table):
        problems.append("there must be password or private_key, one of the two")
    if ("known_hosts" in table) == ("host_key" in table):
        problems.append(
            "there must be known_hosts or host_key, one of the two: a server that may be another one is refused"
        )
    if "passphrase" in table and "private_key" not in table:
        problems.append("passphrase is for private_key, and there is none")
    return problems


def _unknown(key: str) -> str:
    nearest = difflib.get_close_matches(key, _KEYS, n=1)
    return f"there is no key {key!r}" + (f"; do you mean {nearest[0]!r}?" if nearest else f": {', '.join(_KEYS)}")


def _private_key(text: str, passphrase: str | None) -> paramiko.PKey | str:
    """
    The key, or what is wrong with it.
    """
    encrypted = False
    for each in _KEY_CLASSES:
        try:
            return each.from_private_key(io.StringIO(text), passphrase)
        except paramiko.PasswordRequiredException:
            encrypted = True
        except Exception:  # what a key's text makes a library raise is open; its own words may quote the text
            continue
    if encrypted:
        return "private_key is encrypted: passphrase is missing"
    if passphrase is not None:
        return "private_key cannot be read: the passphrase is wrong, or it is no private key in OpenSSH or PEM format"
    return "private_key must be a private key in OpenSSH or PEM format (Ed25519, ECDSA or RSA)"


# -- Values ----------------------------------------------------------------------------------------------------------

Read = Callable[[object], Any]
"""A value as it was written -> as it is used, None when it cannot be."""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value and not _UNSAFE.search(value) and _encodes(value) else None


def _secret(value: object) -> str | None:
    """
    A file's last line end is taken off: secrets are often written with one.
    """
    return _text(value.removesuffix("\n").removesuffix("\r")) if isinstance(value, str) else None


def _key_text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
        return False
    return True


def _host(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        return value if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?", value) else None


def _username(value: object) -> str | None:
    text = _text(value)
    return text if text is not None and not re.search(r"[\s@:/]", text) else None


def _whole(lowest: int, highest: int) -> Read:
    def read(value: object) -> int | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if lowest <= value <= highest else None

    return read


def _host_key(value: object) -> paramiko.PKey | None:
    fields = value.split() if isinstance(value, str) else []
    if len(fields) < 2:
        return None
    try:
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"host {fields[0]} {fields[1]}")
    except Exception:  # whatever a text that is no key makes the library raise
        return None
    key = None if entry is None else entry.key
    return key if key is not None and key.get_name() == fields[0] else None


def _known_hosts(value: object) -> Path | None:
    text = _text(value)
    if text is None or not Path(text).is_absolute():
        return None
    try:
        paramiko.HostKeys(text)
    except Exception:  # it cannot be read, or is no such file
        return None
    return Path(text)


def _directory(value: object) -> str | None:
    text = _text(value)
    if text is None or len(text.encode()) > LONGEST_DIRECTORY_BYTES:
        return None
    return text.rstrip("/") or "/"


def _below(value: object) -> str | None:
    if value == "":
        return ""
    text = _text(value)
    if text is None or len(text.encode()) > LONGEST_OPTION_BYTES:
        return None
    directory = text.removesuffix("/")
    elements = directory.split("/")
    return None if "\\" in text or any(each.strip() in ("", ".", "..") for each in elements) else directory


_KEYS: dict[str, tuple[Read, str, bool]] = {
    "host": (_host, "the name or address of a server", False),
    "port": (_whole(1, 65535), "a whole number from 1 to 65535", False),
    "username": (_username, "a name without spaces, @, : and /", False),
    "password": (_secret, "text", True),
    "private_key": (_key_text, "a private key in OpenSSH or PEM format", True),
    "passphrase": (_secret, "text", True),
    "known_hosts": (_known_hosts, "the absolute path of a readable file in the format of OpenSSH's known_hosts", False),
    "host_key": (_host_key, 'a public key such as "ssh-ed25519 AAAA…"', False),
    "directory": (_directory, f"a path of at most {LONGEST_DIRECTORY_BYTES} bytes", False),
    "timeout_s": (_whole(1, 600), "a whole number from 1 to 600", False),
}
"""Each key: how it is read, what is allowed, whether its value is a secret."""
