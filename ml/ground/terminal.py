"""What both command lines, ``python -m ml`` and ``python -m app``, do alike: read words, and end.

A command is a function: its parameters are the options, its docstring the help. Cyclopts reads
them; whatever it would draw in boxes is told in plain sentences here.
"""

from __future__ import annotations

import difflib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Annotated

from cyclopts import (
    App,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    Token,
    UnusedCliTokensError,
)
from cyclopts.validators import Number

from ml.ground.errors import HepaticaError, is_full, reason

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

DONE, REFUSED, MISUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit status: done; refused, as told on standard error; wrong arguments; by Ctrl+C."""


class _Help:
    """Help as plain text in two columns; Cyclopts would draw boxes, or wrap without columns."""

    indent, column, widest = 2, 26, 100

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a list of commands or of options, under its title."""
        if not panel.entries:
            return
        self._print(console, f"{panel.title}:")
        for entry in panel.entries:
            notes = [_plain(entry.description)] if entry.description else []
            notes += [f"[{' | '.join(entry.choices)}]"] if entry.choices else []
            notes += [f"[default: {entry.default}]"] if _worth_telling(entry.default) else []
            notes += ["[required]"] if entry.required else []
            self._row(
                console,
                ", ".join(entry.display_labels_with_metavar),
                " ".join(note for note in notes if note),
            )
        self._print(console, "")

    def render_usage(self, console: Console, options: ConsoleOptions, usage: object) -> None:
        """Print how the command is called."""
        self._print(console, f"Usage: {_plain(usage)}\n")

    def render_description(self, console: Console, options: ConsoleOptions, told: object) -> None:
        """Print what the command is for."""
        width = min(console.width, self.widest)
        paragraphs = [fill(text, width) for text in _plain(told).split("\n\n") if text]
        self._print(console, "".join(f"{text}\n\n" for text in paragraphs), end="")

    def _row(self, console: Console, label: str, notes: str) -> None:
        label, room = " " * self.indent + label, min(console.width, self.widest) - self.column
        lines = wrap(notes, max(room, 20))
        if lines and len(label) < self.column - 1:
            label = label.ljust(self.column) + lines.pop(0)
        self._print(console, "\n".join([label, *(" " * self.column + line for line in lines)]))

    def _print(self, console: Console, text: str, end: str = "\n") -> None:
        console.print(text, end=end, markup=False, highlight=False, soft_wrap=True)


def _plain(rendered: object) -> str:
    text = getattr(rendered, "primary_renderable", rendered)
    return str(getattr(text, "plain", text)).strip()


def _worth_telling(default: str | None) -> bool:
    return default is not None and default not in ("False", "()")


def command_line(name: str, about: str) -> App:
    """The root of a command line, called ``name`` in its help."""
    root = App(
        name=name,
        help=about,
        help_formatter=_Help(),
        help_format="plaintext",
        version_flags=(),
        group_parameters=Group("Options"),
        default_parameter=Parameter(negative=()),  # no --no-json beside --json
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    root.default(_refusal_of(root))
    return root


def group(parent: App, name: str, about: str) -> App:
    """A command that only has commands of its own, such as ``readers``."""
    made = App(name=name, help=about, version_flags=())
    made.default(_refusal_of(made, name))
    parent.command(made)
    return made


def _refusal_of(app: App, *chain: str) -> Callable[..., None]:
    """What to do where no command of ``app`` is named, or none that it has."""

    def refuse(*words: Annotated[str, Parameter(show=False)]) -> None:
        known = [name for name in app if not name.startswith("-")]
        told = f"A command is missing; choose one of {', '.join(known)}."
        if words:
            near = difflib.get_close_matches(words[0], known, n=1)
            told = f"There is no command {words[0]!r}; "
            told += f"the nearest is {near[0]!r}." if near else f"known: {', '.join(known)}."
        raise CycloptsError(msg=told, command_chain=chain)

    return refuse


def _whole(_type: object, tokens: Sequence[Token]) -> int:
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number.") from None


Whole = Annotated[int, Parameter(converter=_whole)]
"""A whole number; Cyclopts alone would round 1.5."""
Jobs = Annotated[Whole, Parameter(metavar="N", validator=Number(gte=0, lte=1024))]
"""How much is done at a time."""


def run(
    root: App,
    argv: Sequence[str] | None = None,
    words: Callable[[Exception], str | None] = lambda _: None,
) -> int:
    """Do what ``argv`` says (default: what this process was called with).

    Args:
        words: the sentence for an error that is a refusal; None for one that is a fault of ours,
            which then shows where it happened. ``HepaticaError`` and what the system refuses are
            told in any case.

    Returns:
        The exit status: ``DONE``, ``REFUSED``, ``MISUSED`` or ``INTERRUPTED``.
    """
    try:
        root(argv, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        return _misused(root, error)
    except HepaticaError as error:
        return _refused(str(error))
    except BrokenPipeError:
        _drop_stdout()  # whoever read the output has seen enough
        return REFUSED
    except OSError as error:
        return _refused(_of_the_system(error))
    except MemoryError:
        return _refused("this machine has not enough memory for that; ask for less at a time.")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        sentence = words(error)
        if sentence is None:
            raise
        return _refused(sentence)
    return DONE


@contextmanager
def ended_tidily() -> Iterator[None]:
    """SIGTERM ends this process as Ctrl-C does, so that nothing half-made is left behind.

    Processes that are forked meanwhile end at once, as they would without. Where somebody has
    a handler already, or this is not the main thread, nothing is changed.
    """
    here = os.getpid()

    def end(number: int, _frame: object) -> None:
        if os.getpid() == here:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _refused(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return REFUSED


def _misused(root: App, error: CycloptsError) -> int:
    command = " ".join((root.name[0], *(error.command_chain or ())))
    print(f"error: {_of_usage(error)}\nTry: {command} --help", file=sys.stderr)
    return MISUSED


def _of_usage(error: CycloptsError) -> str:
    """One sentence for words that no command takes."""
    error.verbose = False  # that is for whoever writes the command
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        if error.keyword:
            return f"{error.keyword} needs a value."
        name = error.argument.name
        near = difflib.get_close_matches(name, error.unused_tokens or (), n=1)
        return f"{name} is missing." + (f" Did you mean it by {near[0]}?" if near else "")
    if isinstance(error, UnusedCliTokensError):
        return f"Nothing takes {' '.join(error.unused_tokens or ())!r}."
    return str(error)


def _of_the_system(error: OSError) -> str:
    """One sentence for what the system refused, where no command has words of its own."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None]
    if not names and is_full(error):
        _drop_stdout()
    what = " and ".join(names) or "The output"
    if is_full(error) or error.errno == errno.EROFS:
        return f"{what} cannot be written: {reason(error)}. Make room or choose another place."
    return f"{what} cannot be used: {reason(error)}. Check the path and your rights there."


def _drop_stdout() -> None:
    """What is still buffered would be tried again, and fail again, when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
