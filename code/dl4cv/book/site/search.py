"""Search that finds a name with or without its accents: Fréchet, Kynkäänniemi, Bińkowski."""

import json
import unicodedata

from sphinx.search.en import SearchEnglish

#: Letters that Unicode does not take apart into a base letter and its mark.
LETTERS = {"ł": "l", "ø": "o", "đ": "d", "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe"}

_FOLD_IN_JS = """
const foldAccents = (text) => [...text.normalize("NFD").replace(/\\p{M}/gu, "").toLowerCase()]
  .map((letter) => (LETTERS[letter] ?? letter)).join("");
var splitQuery = (query) => foldAccents(query)
  .split(/[^\\p{Letter}\\p{Number}_\\p{Emoji_Presentation}]+/gu).filter((term) => term);
"""


def fold(text: str) -> str:
    """Return ``text`` in lower case and without accents."""
    parts = unicodedata.normalize("NFD", text)
    bare = "".join(letter for letter in parts if not unicodedata.category(letter).startswith("M"))
    return "".join(LETTERS.get(letter, letter) for letter in bare.lower())


class FoldedEnglish(SearchEnglish):
    """English that folds accents, both in the index and, by its splitter, in the query."""

    js_splitter_code = f"const LETTERS = {json.dumps(LETTERS, ensure_ascii=False)};{_FOLD_IN_JS}"

    def split(self, input: str) -> list[str]:
        """Return the words of ``input``, folded."""
        return super().split(fold(input))
