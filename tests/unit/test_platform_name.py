"""`platform` is a folder of ours and a module of the standard library: the latter must win everywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
PROBE = "import platform, sys; sys.exit(0 if hasattr(platform, 'python_version') else 9)"


def run(*words: str, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_the_folder_has_no_init_file() -> None:
    """With one, the folder would shadow the standard library (measured on 3.11 and 3.12)."""
    assert not (PROJECT / "platform" / "__init__.py").exists()
    assert (PROJECT / "platform" / "mlops" / "__init__.py").exists()


def test_pytest_sees_the_standard_module_and_our_package() -> None:
    """This process is one of the ways: python -m pytest, or pytest."""
    import platform  # noqa: PLC0415  the import is the test

    import mlops  # noqa: PLC0415

    assert platform.python_version()
    assert Path(mlops.__file__).is_relative_to(PROJECT / "platform")


@pytest.mark.parametrize(
    "words",
    [
        ("-c", PROBE),
        ("-m", "pytest", "--version"),
        ("-m", "mypy", "--version"),
        ("-m", "rehearsal", "--help"),
        ("-c", f"import pulumi; {PROBE}"),
        ("-c", f"from rehearsal.engine.program import in_folder, Path\nwith in_folder(Path('.')): {PROBE}"),
    ],
    ids=["plain", "pytest", "mypy", "rehearsal", "after pulumi", "the engine"],
)
def test_starting_in_the_project_folder_finds_the_standard_module(words: tuple[str, ...]) -> None:
    """Each of these puts the project folder first on the path."""
    result = run(*words)
    assert result.returncode == 0, result.stderr


def test_the_bare_pytest_command_starts() -> None:
    """It puts the folder of the script first on the path, not the project's."""
    command = Path(sys.executable).with_name("pytest")
    result = subprocess.run(
        [str(command), "--version"], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_program_finds_both_the_way_the_language_host_starts_it(tmp_path: Path) -> None:
    """The host imports pulumi, and with it the standard module, then runs the folder by runpy."""
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import runpy, sys\n"
        "import pulumi\n"
        f"sys.path.insert(0, {str(PROJECT)!r})\n"
        f"found = runpy.run_path({str(PROJECT)!r}, run_name='__probe__')\n"
        "import platform, mlops\n"
        "assert platform.python_version() and found['stack'] and 'platform' in mlops.__file__\n"
    )
    result = run(str(probe))
    assert result.returncode == 0, result.stderr


def test_the_program_started_directly_fails_only_for_want_of_an_engine() -> None:
    """`python __main__.py` puts the project folder first: a shadowed module would fail in an import."""
    result = run("__main__.py")
    assert "AttributeError" not in result.stderr
    assert "not a package" not in result.stderr
    assert "BadEnvironment" in result.stderr or "pulumi" in result.stderr.lower()
