from __future__ import annotations

from pathlib import Path

import pytest

from besom.errors import NotFoundError, StoreError, StorePlaceError, UsageError
from besom.records import SweepDraft
from besom.store import open_store
from besom.store.sqlite import Clock, open_sqlite, store
from besom.store.sqlite.place import filesystem_of, parse_place

DRAFT = SweepDraft(config={}, name="", method="grid")


def test_three_slashes_are_relative_and_four_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///a/b.db", f"sqlite:///{tmp_path}/a/b.db", "a/b.db", f"{tmp_path}/a/b.db"):
        assert parse_place(url).path == tmp_path / "a" / "b.db"
        assert parse_place(url).synchronous == "normal"
    assert parse_place("sqlite:///b.db?synchronous=full").synchronous == "full"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://besom.db",
        "sqlite://host/besom.db",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///b.db?synchronous=off",
        "sqlite:///b.db?mode=ro",
        "mysql:///b.db",
    ],
)
def test_a_wrong_address_is_a_usage_error_that_shows_it(url: str) -> None:
    with pytest.raises(UsageError, match=r"sqlite:///|synchronous") as caught:
        parse_place(url)
    assert url in str(caught.value)


def test_an_unknown_scheme_names_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="sqlite"):
        open_store("sqlit:///b.db")


def test_the_url_opens_the_same_store_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = open_store("sqlite:///deep/er/b.db?synchronous=full")
    sweep = first.create_sweep(DRAFT)
    monkeypatch.chdir("/")
    second = open_store(first.url)
    assert second.get_sweep(sweep.id) == sweep
    assert second.url == first.url
    first.close()
    second.close()


@pytest.mark.parametrize("folder", ["a?b", "a%20b", "x#y", "?synchronous=full", "%3F"])
def test_any_folder_can_hold_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / folder))
    monkeypatch.delenv("BESOM_STORE", raising=False)
    for address in (str(tmp_path / folder / "besom.db"), None):
        first = open_store(address)
        again = open_store(first.url)
        assert (tmp_path / folder / "besom.db").exists()
        assert again.url == first.url
        first.close()
        again.close()
    assert [found.name for found in tmp_path.iterdir()] == [folder]


def test_no_address_means_the_default_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESOM_STORE", str(tmp_path / "default.db"))
    opened = open_store()
    assert opened.url == f"sqlite:///{tmp_path}/default.db"
    opened.close()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/mnt/share/deep", "nfs4"),
        ("/mnt/with space/x", "lustre"),
        ("/mnt/share/local/x", "xfs"),
    ],
)
def test_the_filesystem_is_that_of_the_deepest_latest_mount(tmp_path: Path, folder: str, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "rootfs / rootfs rw 0 0\n/dev/vda / ext4 rw 0 0\nhost:/x /mnt/share nfs4 rw 0 0\n"
        "m@tcp:/l /mnt/with\\040space lustre rw 0 0\n/dev/b /mnt/share/local xfs rw 0 0\nbroken\n"
    )
    assert filesystem_of(Path(folder), mounts) == kind
    assert filesystem_of(Path(folder), tmp_path / "none") is None


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "cifs", "fuse.sshfs"])
def test_a_network_filesystem_is_refused_before_anything_is_written(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "besom.db"
    with pytest.raises(StorePlaceError, match=rf"{kind}.*BESOM_STORE=sqlite:////"):
        open_sqlite(str(path), probe=lambda _: kind)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "overlay", None])
def test_local_and_unknown_filesystems_are_accepted(path: Path, kind: str | None) -> None:
    open_sqlite(str(path), probe=lambda _: kind).close()


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        open_store(str(tmp_path))


def test_a_store_below_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        open_store(str(tmp_path / "file" / "besom.db"))


def test_a_reboot_ends_every_lease(path: Path) -> None:
    def at(now: float, boot: str) -> store.SqliteStore:
        return open_sqlite(str(path), clock=Clock(lease=lambda: now, boot=boot))

    from besom.testing.stores.ground import claim, sweep_with

    first = at(1_000_000.0, "one")
    sweep = sweep_with(first, 1)
    run = claim(first, sweep, seconds=3600)
    solo = first.create_run(run_id=None, project=None, name=None, lease_seconds=3600)
    first.close()
    same = at(1_000_001.0, "one")
    assert same.reap(sweep.id) == 0
    same.close()
    second = at(5.0, "two")
    assert claim(second, sweep).attempt == run.attempt + 1
    assert second.create_run(run_id=solo.id, project=None, name=None, lease_seconds=1).attempt == 2
    assert second.reap(sweep.id) == 0
    second.close()
