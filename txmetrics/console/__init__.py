"""``python -m txmetrics`` and the program ``txmetrics``: what one does with metrics from a terminal.

    main --argparse--> a command --in the reactor where it needs one--> words on stdout, or one sentence on stderr

Each command is a module of its own.
"""

# A command is a module with two functions, and a row in COMMANDS of ``_main``; what both need is in ``_seam``:
#
#     def add(commands: Commands) -> None        adds its parser, and ``set_defaults(run=run)`` to it
#     def run(arguments: Namespace) -> None      does it; its result goes to stdout, progress to stderr
#
# What goes wrong is a Trouble whose text is one sentence, with the offending part and the remedy; an OSError that
# nobody has caught becomes one as well. What takes a reactor is a coroutine function of the reactor that ``run`` hands
# to ``in_reactor``, so that tests can await it. Text from outside goes through ``plain`` before it is printed.

from txmetrics.console._main import main

__all__ = ["main"]
