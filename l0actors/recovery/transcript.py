"""What a session has received so far, and how a restarted attempt is laid over it."""

from typing import Any

import msgspec


class Accepted(msgspec.Struct, frozen=True):
    """What the consumer is to be told about newly received text.

    Attributes:
        keep: first cut the consumer's text back to this many characters; None: leave it.
        start: the offset of the first of `texts`.
        texts: what is new, maybe nothing.
    """

    keep: int | None
    start: int
    texts: list[str]


class Transcript:
    """The content of a session as it stands, over all its attempts.

    A restarted attempt is aligned: while its text equals what is there, nothing is new. At the first
    difference what is there is cut back, once, and the rest is new. Folding what `accept` and `end`
    return gives `text()` at every moment. An attempt costs time in proportion to its own text.

    Attributes:
        pieces: the content as the consumer was given it, piece by piece. Not to be changed from outside.
        length: the content's length in characters.
        aligning: whether new text is being compared with what is there.
    """

    __slots__ = ("_matched", "_offset", "_part", "_parts", "_piece", "_text", "aligning", "length", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.length = 0
        self.aligning = False
        self._text: str | None = ""
        self._piece = self._offset = self._matched = 0  # how far the attempt equals what is there
        self._parts: list[dict[str, Any]] = []
        self._part = 0

    @property
    def token_count(self) -> int:
        """How many pieces make up the content."""
        return len(self.pieces)

    @property
    def attempt_length(self) -> int:
        """How many characters the current attempt has brought."""
        return self._matched if self.aligning else self.length

    def text(self) -> str:
        """Return the content. It is joined anew only after a change."""
        if self._text is None:
            self._text = "".join(self.pieces)
        return self._text

    def begin(self, restart: bool = True) -> None:
        """Start a new attempt: one that says everything again, or one that goes on (`restart=False`)."""
        self.aligning = restart and self.length > 0
        self._piece = self._offset = self._matched = 0
        self._part = 0 if restart else len(self._parts)

    def accept(self, texts: list[str]) -> Accepted:
        """Take what the attempt received. Empty texts are dropped."""
        texts = list(filter(None, texts))
        if not self.aligning:
            return self._append(None, texts)
        for number, text in enumerate(texts):
            equal = self._match(text)
            if equal < len(text):
                return self._leave(text[equal:], texts[number + 1 :])
        self.aligning = self._matched < self.length
        return Accepted(None, self._matched, [])

    def end(self) -> int | None:
        """Note that the attempt ended well, and return how many characters to keep if it was shorter.

        None means that the consumer's text is the attempt's.
        """
        if not self.aligning:
            return None
        self.aligning = False
        return self._cut()

    def accept_part(self, part: dict[str, Any]) -> bool:
        """Take a part that is not text, and return whether the consumer is to be given it.

        It is not, if the attempt's n-th part equals the n-th one that was given before.
        """
        place, self._part = self._part, self._part + 1
        if place < len(self._parts) and self._parts[place] == part:
            return False
        self._parts[place : place + 1] = [part]
        return True

    def _append(self, keep: int | None, texts: list[str]) -> Accepted:
        start = self.length
        if texts:
            self.pieces.extend(texts)
            self.length = start + len("".join(texts))
            self._text = None
        return Accepted(keep, start, texts)

    def _match(self, text: str) -> int:
        """Move on while `text` equals what is there, and return how many of its characters do."""
        done = 0
        while done < len(text) and self._piece < len(self.pieces):
            piece = self.pieces[self._piece]
            size = min(len(piece) - self._offset, len(text) - done)
            there, new = piece[self._offset : self._offset + size], text[done : done + size]
            equal = size if there == new else _common_prefix(there, new)
            done += equal
            self._advance(equal, len(piece))
            if equal < size:
                break
        return done

    def _advance(self, equal: int, piece_length: int) -> None:
        self._matched += equal
        self._offset += equal
        if self._offset == piece_length:
            self._piece, self._offset = self._piece + 1, 0

    def _leave(self, rest: str, following: list[str]) -> Accepted:
        """Stop comparing: `rest` is the first text that is not there."""
        self.aligning = False
        keep = self._cut() if self._matched < self.length else None
        return self._append(keep, [rest, *following])

    def _cut(self) -> int:
        """Forget what is there beyond the matched characters, and return how many those are."""
        kept = [self.pieces[self._piece][: self._offset]] if self._offset else []
        self.pieces[self._piece :] = kept
        self.length = self._matched
        self._text = None
        return self.length


def _common_prefix(a: str, b: str) -> int:
    """Return how many characters the two, which differ and are of one length, begin with in common."""
    return next(index for index, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
