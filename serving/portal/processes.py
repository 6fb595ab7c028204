"""Processes that live and end together, their output in one place: honcho's manager, made safe to stop."""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from shlex import join
from subprocess import SubprocessError
from typing import Any

from honcho.manager import SYSTEM_PRINTER_NAME, Manager
from honcho.printer import Message
from honcho.process import Popen, Process

ENDED, FAILED = 0, 1
ENDING = (signal.SIGINT, signal.SIGTERM)


def _nothing() -> None:
    return


class ProcessGroup(Manager):
    """Processes that are started together; SIGINT, SIGTERM or the end of one of them ends all.

    honcho knows the ids of its processes only when they have told them. A signal before that would leave
    some running, so signals wait until then, in this process and in those between it and its programs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process_ctor = _Process
        self._asked = False
        self._then: Callable[[], None] = _nothing

    def add(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Adds a program; `run` starts it."""
        # Without `exec` the shell that honcho needs would stay between it and the program.
        self.add_process(name, f"exec {join(command)}", env=dict(environment))

    def run(self, then: Callable[[], None] = _nothing) -> int:
        """Runs the programs until one ends, or until the process is told to end.

        Args:
            then: What a thread does once they were started; it may `say` something.

        Returns:
            ENDED after SIGINT or SIGTERM, FAILED if a program ended by itself, however it did.
        """
        self._then = then
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        self.loop()
        return ENDED if self._asked else FAILED

    def say(self, *lines: str) -> None:
        """Prints lines among those of the programs; any thread may."""
        for line in lines:
            message = Message("line", f"{line or ' '}\n", datetime.now(), SYSTEM_PRINTER_NAME, None)
            self.events.put(message)

    # ---- what honcho calls

    def terminate(self) -> None:
        """Ends all programs."""
        # honcho calls this for a signal, and when a program has ended.
        self._asked = self._asked or not self._any_stopped()
        super().terminate()

    def _start(self) -> None:
        super()._start()
        # After the forks, which take no threads with them, but the locks that these hold.
        threading.Thread(target=self._then, daemon=True).start()

    def _all_started(self) -> bool:
        started = super()._all_started()
        if started:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        return started


class _Process(Process):
    """The process between the manager and a program."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._child_ctor = _Program

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        """Runs the program to its end."""
        try:
            super().run(events, ignore_signals)
        except (OSError, SubprocessError) as error:
            # It could not be started. The manager waits for both messages.
            self._send_message(f"{self.name}: {error}\n")
            self._send_message({"pid": os.getpid()}, type="start")
            self._send_message({"returncode": FAILED}, type="stop")


class _Program(Popen):
    """A program, which takes signals again."""

    def __init__(self, command: str, **options: Any) -> None:
        super().__init__(command, preexec_fn=_take_signals, **options)


def _take_signals() -> None:
    for number in ENDING:
        # What came for the whole group meanwhile is forgotten: the manager has it too, and ends the program.
        signal.signal(number, signal.SIG_IGN)
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
