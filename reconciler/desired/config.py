"""The configuration file: found, read and checked with the same care as the manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reconciler.desired.decode import validate
from reconciler.desired.tree import refused
from reconciler.desired.yaml_file import documents, to_data
from reconciler.errors import ConfigError, DesiredStateError, Problem
from reconciler.model.config import Config
from reconciler.settings import environment

SYSTEM_CONFIG = Path("/etc/reconciler/reconciler.yaml")
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration and the folder where its relative paths start.

    Attributes:
        config: What it says.
        base: Absolute path of its folder; the working directory when there is no file.
        file: The file, or None: everything is a default.
    """

    config: Config
    base: Path
    file: Path | None = None


def load_config(path: Path | None) -> LoadedConfig:
    """Read the configuration.

    Args:
        path: The file; None looks at ``RECONCILER_CONFIG``, ``./reconciler.yaml`` and
            ``/etc/reconciler/reconciler.yaml``, and takes the defaults if there is none of them.

    Raises:
        ConfigError: A file that was named does not exist, or something in it is wrong.
    """
    file = path or environment().config
    if file is None:
        candidates = (Path("reconciler.yaml"), SYSTEM_CONFIG)
        file = next((each for each in candidates if each.is_file()), None)
    if file is None:
        return LoadedConfig(Config(), Path.cwd())
    file = file.absolute()
    try:
        return LoadedConfig(_decode(_content(file), str(file)), file.parent, file)
    except DesiredStateError as error:
        raise ConfigError(error.problems, hint=error.hint) from error


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LIMIT + 1)
    except OSError as error:
        raise refused(file, f"the configuration cannot be read: {error.strerror}") from error
    if len(content) > _LIMIT:
        raise refused(file, f"the configuration has more than {_LIMIT} bytes")
    return content


def _decode(content: bytes, file: str) -> Config:
    found = list(documents(content, file))
    if not found:
        return Config()
    if len(found) > 1:
        raise DesiredStateError(
            [found[1].problem((), "a configuration is one document; here a second begins")]
        )
    document = found[0]
    problems: list[Problem] = []
    data = to_data(document, problems)
    if problems:
        raise DesiredStateError(problems)
    config, mistakes = validate(Config, data, document.written)
    if config is None:
        raise DesiredStateError([document.problem(m.path, m.message, key=m.at_key) for m in mistakes])
    return config
