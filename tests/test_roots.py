"""Where results may be saved, judged on real directories and links."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from m3u8svc.errors import UnsafePath
from m3u8svc.roots import Rules, doubtful_place, insist_on_place, judged_place, judged_roots, own_places
from m3u8svc.tasks.directories import is_system_directory


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of the user who runs us."""
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    yield home


def refusal(location: object, *ours: Path, by_operator: bool = False) -> str:
    """Why a place is refused; "" if it is not."""
    try:
        judged_place("save_location", str(location), Rules(ours=ours), by_operator=by_operator)
    except UnsafePath as error:
        assert ("save_location", str(location)) == (error.fields["field"], error.fields["value"])
        assert in_english(error)
        return str(error.fields["reason"])
    return ""


def in_english(error: UnsafePath) -> bool:
    """Whether the English text has no Chinese reason in it; what the system says is in its own words."""
    reason = str(error.fields["reason"])
    return reason.isascii() or reason not in error.text("en")


OURS, SYSTEMS, USERS = "这是本服务自己的目录", "是系统目录", "是用户的配置目录"


class TestOwn:
    """Our own directories."""

    def test_under_both_names(self, tmp_path: Path) -> None:
        """A state directory behind a link is protected by the link's name and by its own, also when the link goes."""
        (tmp_path / "real" / "state").mkdir(parents=True)
        (tmp_path / "link").symlink_to(tmp_path / "real")
        ours = own_places(tmp_path / "link" / "state")
        for place in ("link/state", "link/state/deep", "real/state", "real/state/deep", "saves/../real/state"):
            assert OURS == refusal(tmp_path / place, *ours), place
        assert "" == refusal(tmp_path / "real", *ours) == refusal(tmp_path / "real" / "state2", *ours)
        (tmp_path / "link").unlink()
        assert OURS == refusal(tmp_path / "real" / "state", *ours)

    def test_beside_a_file_of_ours(self, tmp_path: Path) -> None:
        """Nothing is saved beside the database or the configuration, but below there it may be."""
        (tmp_path / "config.toml").write_text("")
        ours = own_places(None, "", tmp_path / "config.toml")
        assert (OURS, "") == (refusal(tmp_path, *ours), refusal(tmp_path / "films", *ours))

    def test_whoever_chose_it(self, tmp_path: Path) -> None:
        """The operator's choice is no exception."""
        assert OURS == refusal(tmp_path, tmp_path, by_operator=True)


class TestSystem:
    """The system's directories."""

    @pytest.mark.parametrize("place", ["/etc", "/etc/cron.d", "/usr/share/x", "/", "/var/run/x", "/run/x", "/bin"])
    def test_also_behind_a_link(self, tmp_path: Path, place: str) -> None:
        """By name, by a link, and below a link."""
        (tmp_path / "link").symlink_to(place)
        found = [refusal(place), refusal(tmp_path / "link"), refusal(tmp_path / "link" / "deep")]
        assert [SYSTEMS] * 2 == found[:2]
        assert found[2] == (SYSTEMS if place != "/" else "")

    @pytest.mark.parametrize("place", ["/dev/shm", "/dev/shm/films", "/run/media/me/stick", "/srv/films", "/opt"])
    def test_what_is_free(self, place: str) -> None:
        """Shared memory, mounted media and what only looks similar."""
        assert ("", False) == (refusal(place), is_system_directory(place))

    def test_the_operator_may(self) -> None:
        """Whoever runs the service may keep films below /var/lib."""
        assert (SYSTEMS, "") == (refusal("/var/lib/films"), refusal("/var/lib/films", by_operator=True))


@pytest.mark.parametrize("place", ["~/.ssh", "~/.gnupg/x", "~/.config", "~/.config/autostart", "~/link/x"])
def test_where_a_user_keeps_configuration(user: Path, place: str) -> None:
    """Keys and configuration take no films, by whatever name."""
    (user / ".config").mkdir()
    (user / "link").symlink_to(user / ".config")
    assert [USERS] * 2 == [refusal(place), refusal(place.replace("~", str(user)))]


def test_where_a_user_keeps_films(user: Path) -> None:
    """Everything else of a home is free, and comes back absolute."""
    for place in ("~", "~/films", "~/.cache/films", "~/.configuration"):
        assert place.replace("~", str(user)) == judged_place("save_location", place, Rules())
    assert "" == judged_place("save_location", "", Rules())


def test_configuration_elsewhere(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CONFIG_HOME is believed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(user / "settings"))
    assert (USERS, "") == (refusal("~/settings/autostart"), refusal("~/films"))


def test_places_that_cannot_be(tmp_path: Path) -> None:
    """A loop of links, a name no file system takes, the home of nobody: refused, not a bug of ours."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for place in (tmp_path / "a", tmp_path / "a" / "x", tmp_path / ("x" * 300), "~nobody-of-this-name/x"):
        assert refusal(place), place


def test_a_place_that_may_come_to_be(tmp_path: Path) -> None:
    """What is missing or a file is not judged here: the task says what it cannot do."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "new" / "deep", tmp_path / "file", tmp_path / "file" / "x"):
        assert "" == refusal(place), place
    assert ["file"] == os.listdir(tmp_path)


# -- Roots -----------------------------------------------------------------------------------------------------------


def rooted(tmp_path: Path, *roots: str) -> Rules:
    """Rules with roots below a directory."""
    return Rules(roots=judged_roots([str(tmp_path / root) for root in roots], ()))


@pytest.mark.parametrize(
    ("place", "allowed"),
    [
        ("films", True),
        ("films/new/deep", True),
        ("more", True),
        ("films/../more/x", True),
        ("films2", False),  # a prefix of the name is no directory above
        ("films/../other", False),
        ("films/..", False),
        (".", False),
        ("out", False),
        ("out/deep", False),
        ("films/out", False),
        ("films/out/deep", False),
        ("in", True),
        ("in/deep", True),
    ],
)
def test_strangers_save_below_roots_only(tmp_path: Path, place: str, allowed: bool) -> None:
    """What a place really is decides: by name, by ``..`` and by links in and out."""
    for name in ("films", "more", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "other")
    (tmp_path / "films" / "out").symlink_to(tmp_path / "other")
    (tmp_path / "in").symlink_to(tmp_path / "films")
    rules = rooted(tmp_path, "films", "more")
    for by_operator in (False, True):
        try:
            judged_place("save_location", str(tmp_path / place), rules, by_operator=by_operator)
        except UnsafePath as error:
            assert not allowed and "save_roots" in error.text("zh")
            assert "save_roots" in error.text("en") and in_english(error)
        else:
            assert allowed


def test_a_root_behind_a_link_is_what_the_link_leads_to(tmp_path: Path) -> None:
    """The operator's own links are the operator's."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "films").symlink_to(tmp_path / "disk")
    rules = rooted(tmp_path, "films")
    assert str(tmp_path / "disk" / "x") == judged_place("save_location", str(tmp_path / "films" / "x"), rules)


@pytest.mark.parametrize("root", [".", "state", "state/deep", "link"])
def test_no_root_holds_what_is_ours(tmp_path: Path, root: str) -> None:
    """Nor lies in it: whoever may save there could write our database."""
    (tmp_path / "state").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "state")
    with pytest.raises(UnsafePath) as refused:
        judged_roots([str(tmp_path / root)], own_places(tmp_path / "state"))
    assert in_english(refused.value)
    assert (tmp_path / "films",) == judged_roots([str(tmp_path / "films"), ""], own_places(tmp_path / "state"))


def test_a_place_is_looked_at_again_when_it_is_opened(tmp_path: Path) -> None:
    """A directory that became a link since, at any depth, or lies in no root any more, is refused."""
    place = tmp_path / "films" / "deep"
    place.mkdir(parents=True)
    insist_on_place("save_location", judged_place("save_location", str(place), Rules()), Rules())
    insist_on_place("temp_directory", "", Rules())
    with pytest.raises(UnsafePath):
        insist_on_place("save_location", str(place), rooted(tmp_path, "elsewhere"))
    (tmp_path / "films").rename(tmp_path / "moved")
    (tmp_path / "films").symlink_to(tmp_path / "moved")
    with pytest.raises(UnsafePath) as refused:
        insist_on_place("save_location", str(place), Rules())
    assert in_english(refused.value)


def test_a_task_keeps_the_real_place(tmp_path: Path) -> None:
    """Links that are there when it is created are followed then, and never again."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "films").symlink_to(tmp_path / "disk")
    assert str(tmp_path / "disk" / "new") == judged_place("save_location", str(tmp_path / "films" / "new"), Rules())


def test_a_place_that_an_operator_may_not_have_meant(tmp_path: Path) -> None:
    """Directories of the system and of a user's configuration, by whatever name; nothing has to be there."""
    (tmp_path / "link").symlink_to("/etc")
    places = [Path("/etc"), Path("/usr/local/films"), Path.home() / ".ssh", tmp_path / "link" / "films"]
    assert ["是系统目录", "是系统目录", "是用户的配置目录", "是系统目录"] == [doubtful_place(each) for each in places]
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for fine in (tmp_path, Path("/srv/films"), Path.home() / "Downloads", tmp_path / "loop"):
        assert "" == doubtful_place(fine)
