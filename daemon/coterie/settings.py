"""What can be set, with defaults and bounds, and where a value comes from.

Highest first: the command line, the environment (COTERIE_LEASE_S=3), one YAML file, the defaults. A list in the
environment is separated by commas. `config/coterie.yaml` shows every setting and says what it means.
"""

import difflib
import os
import platform
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from coterie.locations import default_data_dir, default_socket
from coterie.settings_fields import (
    NAME_CHARS_MAX,
    AbsolutePath,
    Amounts,
    Announced,
    Days,
    HttpAddress,
    Labels,
    Listened,
    Name,
    Seconds,
    SocketPath,
    Whole,
    once,
)
from coterie.settings_file import SettingsFile, read_settings_file
from coterie_protocols.errors import UserError
from coterie_protocols.messages import CLAIMS_SHOWN_MAX

ENVIRONMENT_PREFIX: Final = "COTERIE_"
CONFIG_VARIABLE: Final = "COTERIE_CONFIG"
SYSTEM_CONFIG: Final = Path("/etc/coterie/coterie.yaml")
SLOTS_MAX: Final = CLAIMS_SHOWN_MAX
"""Each sign of life names the claims that it renews."""
ENGINE_STEPS_MAX: Final = 4096
OPTIONS: Final = {"labels": "--label", "lease_s": "--lease"}
"""Options of the command line that are not called as their setting is."""
_ARCHITECTURES: Final = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm"}


def _host_name() -> str:
    return (socket.gethostname().split(".")[0] or "peer")[:NAME_CHARS_MAX]


def _processors() -> int:
    return min(len(os.sched_getaffinity(0)), SLOTS_MAX)


def _engine_steps() -> int:
    return max(2, len(os.sched_getaffinity(0)))


def machine_resources() -> dict[str, float]:
    """What this machine has: `cpu` in processors, `memory` in bytes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": float(len(os.sched_getaffinity(0))), "memory": float(memory)}


class Settings(BaseSettings):
    """Everything that can be set; names tell the units. Build it with `load_settings`, whose errors are for people."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", validate_default=True)

    data_dir: AbsolutePath = Field(default_factory=default_data_dir)
    socket: SocketPath = Field(default_factory=default_socket)
    name: Name = Field(default_factory=_host_name)

    listen: Listened = ("/ip4/0.0.0.0/tcp/7411",)
    announce: Announced = ()

    labels: Labels = ()
    stands_in_for: Labels = ("ubuntu-latest",)
    slots: Whole = Field(default_factory=_processors, ge=0, le=SLOTS_MAX)

    lease_s: Seconds = Field(default=12.0, ge=1.0, le=3600.0)
    presence_interval_s: Seconds = Field(default=10.0, ge=0.2, le=600.0)
    stagger_s: Seconds = Field(default=0.5, ge=0.01, le=60.0)
    settle_s: Seconds = Field(default=0.25, ge=0.0, le=60.0)
    when_isolated: Literal["continue", "stop"] = "continue"
    shutdown: Literal["release", "finish"] = "release"
    grace_s: Seconds = Field(default=5.0, ge=0.0, le=60.0)

    announce_interval_s: Seconds = Field(default=0.1, ge=0.1, le=60.0)
    anti_entropy_interval_s: Seconds = Field(default=30.0, ge=0.5, le=3600.0)

    inbox_max: Whole = Field(default=1024, ge=16, le=1_000_000)
    blob_bytes_max: Whole = Field(default=2 * 1024**3, ge=1024**2, le=1024**4)
    log_bytes_max: Whole = Field(default=64 * 1024**2, ge=64 * 1024, le=64 * 1024**3)

    engine_steps: Whole = Field(default_factory=_engine_steps, ge=1, le=ENGINE_STEPS_MAX)
    engine_queue_max: Whole = Field(default=1000, ge=1, le=1_000_000)
    engine_resources: Amounts = Field(default_factory=machine_resources)
    engine_durability: Literal["strict", "relaxed"] = "strict"
    engine_keep_days: Days = Field(default=30.0, ge=0.0, le=36_500.0)
    engine_keep_bytes: Whole = Field(default=4 * 1024**3, ge=1024**2, le=1024**4)
    otel_endpoint: HttpAddress = ""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    def offered_labels(self) -> tuple[str, ...]:
        """All labels of `runs-on` that this machine serves: what it is, what it stands in for, and `labels`."""
        architecture = platform.machine().lower()
        own = ("self-hosted", platform.system().lower(), _ARCHITECTURES.get(architecture, architecture))
        return once((*own, *self.stands_in_for, *self.labels))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments alone: `load_settings` joins the sources, since it must know whose value is wrong."""
        return (init_settings,)


def load_settings(config: Path | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """The settings of this process. `overrides` come from the command line; those that are None do not count.

    Raises one UserError that lists everything that is wrong, each with its file and line, variable or option.
    """
    file = _settings_file(config)
    environment = EnvSettingsSource(Settings)()
    options = {key: value for key, value in (overrides or {}).items() if value is not None}
    try:
        return Settings.model_validate({**file.values, **environment, **options})
    except ValidationError as error:
        problems = dict.fromkeys(_problem(each, file, environment, options) for each in error.errors())
        raise UserError("\n".join(problems), "config/coterie.yaml shows every setting with its default.") from error


def _settings_file(config: Path | None) -> SettingsFile:
    if config is None and (named := os.environ.get(CONFIG_VARIABLE)):
        config = Path(named)
    if config is not None:
        return read_settings_file(config)
    for path in usual_config_files():
        if path.exists():
            return read_settings_file(path)
    return SettingsFile(SYSTEM_CONFIG)


def usual_config_files(environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Where a settings file is looked for when none is named: the user's, then the machine's."""
    given = environ.get("XDG_CONFIG_HOME", "")
    if given.startswith("/"):
        yield Path(given) / "coterie" / "coterie.yaml"
    elif home := environ.get("HOME"):
        yield Path(home) / ".config" / "coterie" / "coterie.yaml"
    yield SYSTEM_CONFIG


def _problem(
    error: ErrorDetails, file: SettingsFile, environment: Mapping[str, object], options: Mapping[str, object]
) -> str:
    key = str(error["loc"][0])
    if key in options:
        source = OPTIONS.get(key, f"--{key.replace('_', '-')}")
    elif key in environment:
        source = ENVIRONMENT_PREFIX + key.upper()
    else:
        source = file.where(error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key.lower().replace("-", "_"), Settings.model_fields, n=1, cutoff=0.5)
        return f"{source}: unknown setting `{key}`" + (f"; did you mean `{near[0]}`?" if near else "")
    return f"{source}: `{key}`: {_complaint(error)}"


def _complaint(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    wanted = str(error["msg"]).replace("Input should", "must").split(", unable to parse")[0]
    return f"{wanted}, and is {error['input']!r}"
