"""Runs the program in process, on the SDK's monitor hook, with the configuration of one environment file."""

import asyncio
import contextvars
import gc
import json
import logging
import os
import re
import runpy
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from pulumi.runtime import set_all_config, set_mocks
from pulumi.runtime.mocks import MockEngine
from pulumi.runtime.settings import SETTINGS, set_root_resource
from pulumi.runtime.stack import run_in_stack

from config import yaml_text
from rehearsal.engine.errors import BadInput
from rehearsal.engine.monitor import Monitor
from rehearsal.engine.secrets import Crypter, Redactor

SPARE_THREADS = 8


@dataclass(frozen=True)
class Config:
    """Configuration as the CLI hands it to a program: strings, structures as JSON."""

    values: dict[str, str]
    secret_keys: list[str]


@dataclass(frozen=True)
class Project:
    """What the engine needs of Pulumi.yaml."""

    name: str
    refresh_always: bool

    @classmethod
    def load(cls, folder: Path) -> "Project":
        """Read Pulumi.yaml in the program's folder."""
        data = _yaml(folder / "Pulumi.yaml")
        if not data.get("name"):
            raise BadInput(f"{folder / 'Pulumi.yaml'}: `name` is missing")
        return cls(data["name"], (data.get("options") or {}).get("refresh") == "always")


def _yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml_text.load(path.read_bytes().decode()) or {}
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"{path} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise BadInput(f"{path}: a mapping is expected")
    return data


def encryption_salt(path: Path) -> str | None:
    """`encryptionsalt` of the environment file."""
    return _salt(path, _yaml(path))


def _salt(path: Path, data: dict[str, Any]) -> str | None:
    salt = data.get("encryptionsalt")
    if salt is not None and not isinstance(salt, str):
        raise BadInput(f"{path}: `encryptionsalt` must be a text, as the CLI wrote it")
    return salt


def load_config(
    path: Path, project: str, passphrase: str, redact: Redactor, extra: Mapping[str, Any] | None = None
) -> Config:
    """Read `config:` of an environment file; `secure:` values are decrypted. `extra` may not repeat its keys."""
    data = _yaml(path)
    values: dict[str, str] = {}
    secret: list[str] = []
    given = data.get("config") or {}
    if not isinstance(given, dict):
        raise BadInput(f"{path}: `config` must be a mapping; Pulumi.dev.yaml shows one")
    for key, value in given.items():
        full = str(key) if ":" in str(key) else f"{project}:{key}"
        opened = _Opener(path, _salt(path, data), passphrase, redact)
        try:
            shown = opened(value)
            values[full] = shown if isinstance(shown, str) else json.dumps(shown, default=_text)
        except (TypeError, ValueError, RecursionError):
            rule = "holds what no program can be handed: a set, bytes, or itself"
            raise BadInput(f"{path}: {full} {rule}; write texts, numbers, lists and mappings") from None
        if opened.used:
            secret.append(full)
    for key, value in (extra or {}).items():
        if key in values:
            raise BadInput(f"{path}: {key} is set here and given beside the file; keep one of the two")
        values[key] = value if isinstance(value, str) else json.dumps(value)
    return Config(values, secret)


def _text(value: Any) -> str:
    """A day or a time is YAML's reading of a text."""
    if isinstance(value, date):
        return str(value)
    raise TypeError(type(value).__name__)


class _Opener:
    """Decrypts `secure:` values in one configuration value."""

    def __init__(self, path: Path, salt: str | None, passphrase: str, redact: Redactor) -> None:
        self._path, self._salt, self._passphrase, self._redact = path, salt, passphrase, redact
        self.used = False

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) == {"secure"}:
                return self._open(str(value["secure"]))
            return {key: self(item) for key, item in value.items()}
        return [self(item) for item in value] if isinstance(value, list) else value

    def _open(self, sealed: str) -> str:
        if not self._salt:
            raise BadInput(f"{self._path}: there are `secure:` values but no `encryptionsalt`")
        self.used = True
        try:
            text = Crypter(self._passphrase, self._salt, str(self._path)).decrypt(sealed)
        except (InvalidTag, ValueError):
            raise BadInput(f"{self._path}: a `secure:` value is damaged; set it again") from None
        self._redact.learn(text)
        return text


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Work in the program's folder, with its modules importable, as the CLI's host does."""
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


def run_program(folder: Path, config: Config, monitor: Monitor, preview: bool, parallel: int) -> None:
    """Run `__main__.py` until every registration has ended. Re-raises what the program raises."""
    collecting = gc.isenabled()
    try:
        contextvars.copy_context().run(_run, folder, config, monitor, preview, parallel)
    finally:
        if collecting:
            gc.enable()


def _run(folder: Path, config: Config, monitor: Monitor, preview: bool, parallel: int) -> None:
    loop = asyncio.new_event_loop()
    # A failed run leaves futures that nobody awaits: the failure is reported already.
    loop.set_exception_handler(lambda _loop, _context: None)
    # Registrations wait in the default executor: with too few threads they would wait for each other's turn.
    pool = ThreadPoolExecutor(parallel + SPARE_THREADS, thread_name_prefix="register")
    loop.set_default_executor(pool)
    asyncio.set_event_loop(loop)
    SETTINGS.outputs.clear()
    set_all_config(config.values, config.secret_keys)
    # set_mocks makes a root stack where there is none, and run_in_stack refuses a second one.
    set_root_resource(object())  # type: ignore[arg-type]
    logger = _logger(monitor)
    set_mocks(_mocks(monitor), monitor.project, monitor.stack, preview, logger, monitor)
    SETTINGS.engine = _Answering(logger)
    set_root_resource(None)  # type: ignore[arg-type]
    try:
        loop.run_until_complete(run_in_stack(lambda: _main(folder)))
    finally:
        # What is under way ends, and is recorded; what waits is not started.
        pool.shutdown(wait=True, cancel_futures=True)
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        SETTINGS.outputs.clear()
        loop.close()
        asyncio.set_event_loop(None)


def _main(folder: Path) -> None:
    runpy.run_path(str(folder / "__main__.py"), run_name="__main__")


class _Answering(MockEngine):
    """The SDK's own stand-in of the engine, which logs, with what a program may ask it."""

    def RequirePulumiVersion(self, request: Any) -> None:  # noqa: N802  of the protocol
        """This engine behaves as the one of the SDK's version."""
        wanted = re.fullmatch(r">=(\d+)\.(\d+)\.(\d+)", request.pulumi_version_range)
        if wanted is None:
            raise BadInput(f"{request.pulumi_version_range}: this engine reads ranges such as >=3.1.2 only")
        if tuple(map(int, wanted.groups())) > tuple(map(int, version("pulumi").split("."))):
            raise BadInput(f"this engine is of {version('pulumi')}, which is not {request.pulumi_version_range}")


def _mocks(monitor: Monitor) -> Any:
    return monitor.mocks


def _logger(monitor: Monitor) -> logging.Logger:
    """Pass on what the program logs with pulumi.log."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            monitor.run.display.notice(monitor.run.redact(record.getMessage()))

    logger = logging.Logger("program", logging.INFO)
    logger.addHandler(Handler())
    return logger
