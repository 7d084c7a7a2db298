"""Whether an answer says anything at all."""

import unicodedata


def is_zero_output(text: str) -> bool:
    r"""Return whether `text` is empty, or white space and punctuation only.

    >>> is_zero_output(" ...\n"), is_zero_output("да"), is_zero_output("👍")
    (True, False, False)
    """
    return all(unicodedata.category(character)[0] in "ZPC" for character in text)
