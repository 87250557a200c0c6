"""Log lines in k3s's form, and the exception that ends the program."""

import json
import sys
import time


class Fatal(Exception):  # noqa: N818  # it ends the program: no error that somebody handles
    """The program cannot go on; the text is the reason, as one sentence."""


def _line(level: str, text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stderr.write(f'time="{stamp}" level={level} msg={json.dumps(text, ensure_ascii=False)}\n')
    sys.stderr.flush()


def info(text: str) -> None:
    """Something happened as it should."""
    _line("info", text)


def warning(text: str) -> None:
    """Something to look at, that stops nothing."""
    _line("warning", text)


def error(text: str) -> None:
    """Something failed and is tried again, or ends the program soon."""
    _line("error", text)


def fatal(text: str) -> None:
    """The last line before the program ends."""
    _line("fatal", text)
