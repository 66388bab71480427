"""Settings: where values come from, that the shown defaults are true, and what a mistake is answered with."""

from pathlib import Path

import pytest
import yaml

from coterie.settings import Settings, load_settings, usual_config_files
from coterie_protocols.errors import UserError

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in ("CONFIG", *(name.upper() for name in Settings.model_fields)):
        monkeypatch.delenv(f"COTERIE_{key}", raising=False)
    for key in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def _file(directory: Path, text: str) -> Path:
    path = directory / "coterie.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _complaint(config: Path | None = None, **overrides: object) -> str:
    with pytest.raises(UserError) as caught:
        load_settings(config, overrides)
    return caught.value.message


def test_the_shown_file_holds_every_setting_with_its_default() -> None:
    shown = yaml.safe_load((CONFIG / "coterie.yaml").read_text(encoding="utf-8"))
    assert list(shown) == list(Settings.model_fields)
    assert load_settings(CONFIG / "coterie.yaml") == Settings()
    depends_on_the_machine = {"data_dir", "socket", "name", "slots", "engine_steps", "engine_resources"}
    assert {key for key, value in shown.items() if value is None} == depends_on_the_machine


def test_the_testnet_listens_on_loopback_alone() -> None:
    settings = load_settings(CONFIG / "testnet.yaml")
    assert all(address.startswith("/ip4/127.0.0.1/") for address in settings.listen)
    assert settings.lease_s == 3.0
    assert settings.presence_interval_s < settings.lease_s


def test_options_override_the_environment_which_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(tmp_path, "lease_s: 4\nsettle_s: 1\nslots: 3\nname: from-file\n")
    monkeypatch.setenv("COTERIE_LEASE_S", "5")
    monkeypatch.setenv("COTERIE_SLOTS", "7")
    settings = load_settings(path, {"slots": 9, "name": None})
    assert (settings.lease_s, settings.settle_s, settings.slots, settings.name) == (5.0, 1.0, 9, "from-file")


def test_lists_in_the_environment_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COTERIE_LABELS", "GPU, big-disk,gpu")
    monkeypatch.setenv("COTERIE_LISTEN", "/ip4/127.0.0.1/tcp/0,/ip6/::1/tcp/0")
    settings = load_settings()
    assert settings.labels == ("gpu", "big-disk")
    assert settings.listen == ("/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0")


def test_the_users_file_goes_before_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".config" / "coterie").mkdir(parents=True)
    _file(tmp_path / ".config" / "coterie", "name: mine\n")
    assert load_settings().name == "mine"
    assert [str(path) for path in usual_config_files({"XDG_CONFIG_HOME": "/x", "HOME": "/h"})] == [
        "/x/coterie/coterie.yaml",
        "/etc/coterie/coterie.yaml",
    ]
    monkeypatch.setenv("COTERIE_CONFIG", str(_file(tmp_path, "name: named\n")))
    assert load_settings().name == "named"
    assert load_settings(_file(tmp_path, "name: told\n")).name == "told"


def test_labels_say_what_the_machine_is_and_what_it_stands_in_for() -> None:
    offered = Settings(labels=("gpu",)).offered_labels()
    assert offered[:2] == ("self-hosted", "linux")
    assert offered[-2:] == ("ubuntu-latest", "gpu")
    assert "ubuntu-latest" not in Settings(stands_in_for=()).offered_labels()


def test_every_mistake_is_told_at_once_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, "leese_s: 3\nslots: many\nlisten:\n  - /ip4/127.0.0.1/tcp/0\n  - nonsense\nwhatever: 1\n")
    monkeypatch.setenv("COTERIE_SETTLE_S", "-1")
    assert _complaint(path, grace_s="soon", inbox_max=True).splitlines() == [
        f"{path}:5: `listen`: `nonsense` is no TCP multiaddr; write it like /ip4/192.0.2.7/tcp/7411",
        f"{path}:2: `slots`: must be a valid integer, and is 'many'",
        "COTERIE_SETTLE_S: `settle_s`: must be greater than or equal to 0, and is '-1'",
        "--grace-s: `grace_s`: must be a valid number, and is 'soon'",
        "--inbox-max: `inbox_max`: must be a number, not yes or no",
        f"{path}:1: unknown setting `leese_s`; did you mean `lease_s`?",
        f"{path}:6: unknown setting `whatever`",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"- a\n- b\n", ":1: must be a mapping, one `key: value` a line"),
        (b"name: [\n", ":2: is not YAML"),
        (b"\x00\xff\xfe\x01", ": is not YAML: it holds bytes that no text has"),
        (b"name: a\n\nname: b\n", ":3: `name` stands here a second time, after line 1"),
        (b"name: !!python/object:os.system x\n", ":1: is not YAML"),
        (b"config: /x\n", ":1: unknown setting `config`"),
        (b"7: 1\n", ":1: unknown setting `7`"),
        (b"name: |\n  two\n  lines\n", ":1: `name`: "),
        (b"lease_s: .inf\n", ":1: `lease_s`: must be"),
        (b"shutdown: pause\n", ":1: `shutdown`: must be 'release' or 'finish', and is 'pause'"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: bytes, complaint: str) -> None:
    path = tmp_path / "coterie.yaml"
    path.write_bytes(text)
    message = _complaint(path)
    assert message.startswith(f"{path}{complaint}")
    assert "\n" not in message


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    assert _complaint(tmp_path / "none.yaml") == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert load_settings(_file(tmp_path, "# nothing\n")) == Settings()


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/1.2.3/tcp/1",
        "/ip4/1.2.3.4/udp/1/quic-v1",
        "/ip4/1.2.3.4/tcp/70000",
        "/dns4/a.example/tcp/1",
        "/ip6/x/tcp/1",
    ],
)
def test_what_cannot_be_listened_on_is_refused(address: str) -> None:
    assert _complaint(listen=[address]).startswith("--listen: `listen`: ")


def test_names_can_be_announced() -> None:
    assert load_settings(None, {"announce": "/dns4/a.example/tcp/1"}).announce == ("/dns4/a.example/tcp/1",)


def test_paths_become_absolute_and_a_socket_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {"data_dir": "d", "socket": "~/s"})
    assert (settings.data_dir, settings.socket) == (tmp_path / "d", tmp_path / "s")
    assert _complaint(lease_s=0).startswith("--lease: ")
    assert "at most 107" in _complaint(socket="/" + "x" * 120)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().name = "other"


def test_amounts_are_written_as_people_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, "engine_resources: {cpu: 2, memory: 8GiB, licences: 1}\n")
    assert load_settings(path).engine_resources == {"cpu": 2.0, "memory": 8.0 * 1024**3, "licences": 1.0}
    monkeypatch.setenv("COTERIE_ENGINE_RESOURCES", "cpu=0.5, memory=512MB")
    assert load_settings(path).engine_resources == {"cpu": 0.5, "memory": 512e6}
    assert _complaint(engine_resources="cpu").endswith("must be written like cpu=4,memory=8GiB")
    assert _complaint(engine_resources={"cpu": "many"}).startswith("--engine-resources: `engine_resources`: ")


@pytest.mark.parametrize("address", ["collector:4318", "ftp://a.example", "http://", "http://a.example/?x=1"])
def test_a_collector_has_an_address(address: str) -> None:
    assert "is no address of a collector" in _complaint(otel_endpoint=address)
    assert load_settings(None, {"otel_endpoint": "http://127.0.0.1:4318/"}).otel_endpoint == "http://127.0.0.1:4318"
