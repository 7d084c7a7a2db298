"""Text that streams on a terminal and can be taken back; in a pipe, plain text with a marker line."""

import asyncio
import os
import re
import shutil
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "strike": "9", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_PIECES = re.compile(r"\n|[^\S\n]*\S+|[^\S\n]+")
_INDENT = "  "
_WIDEST = 90

STRIKE_S = 0.8
"""How long text that is taken back stays on the terminal, struck through."""


class Paint:
    """Colours text for a terminal; leaves it alone in a pipe, with `NO_COLOR` and with `TERM=dumb`.

    Attributes:
        on: whether escape sequences may be written.
    """

    def __init__(self, out: TextIO) -> None:
        self.on = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def __call__(self, text: str, *styles: str) -> str:
        """Return `text` in these styles."""
        if not (self.on and styles):
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


class Screen:
    """Shows one text while it streams.

    Attributes:
        text: what it shows: the fold of the events that it was told.
    """

    def __init__(self, out: TextIO, paint: Paint) -> None:
        self.text = ""
        self._out = out
        self._paint = paint
        self._size = shutil.get_terminal_size()
        self._width = min(self._size.columns, _WIDEST) - 1
        self._rows = self._column = 0

    def add(self, piece: str) -> None:
        """Append a piece of text."""
        self.text += piece
        self._draw(piece)
        self._out.flush()

    async def take_back(self, keep: int) -> None:
        """Keep the first `keep` characters: strike the others through, and redraw without them."""
        kept, lost = self.text[:keep], self.text[keep:]
        if self._paint.on and self._rows < self._size.lines - 1:
            self._erase()
            self._draw(kept)
            self._draw(lost, "strike", "red")
            self._out.flush()
            await asyncio.sleep(STRIKE_S)
            self._erase()
        else:
            self.line(f"[rollback: {len(lost)} characters are taken back, {keep} stay]", "yellow")
            self._begin()
        self.text = kept
        self._draw(kept)
        self._out.flush()

    def line(self, text: str, *styles: str) -> None:
        """End the text's line, if one has begun, and write one of its own."""
        if self._column:
            self._out.write("\n")
            self._column = 0
        self._out.write(f"{_INDENT}{self._paint(text, *styles)}\n")
        self._out.flush()

    def _begin(self) -> None:
        self._rows = self._column = 0

    def _draw(self, text: str, *styles: str) -> None:
        for piece in _PIECES.findall(text):
            if piece == "\n":
                self._break()
                continue
            wraps = self._column and self._column + len(piece) > self._width
            if wraps:
                self._break()
            if not self._column:
                self._out.write(_INDENT)
                self._column = len(_INDENT)
            shown = piece.lstrip() if wraps else piece
            self._out.write(self._paint(shown, *styles))
            self._column += len(shown)

    def _break(self) -> None:
        self._out.write("\n")
        self._rows += 1
        self._column = 0

    def _erase(self) -> None:
        up = f"\x1b[{self._rows}A" if self._rows else ""
        self._out.write(f"\r{up}\x1b[J")
        self._begin()
