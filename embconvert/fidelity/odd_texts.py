"""Unusual texts, the same in every run, for comparing two tokenizers.

Tokenizers agree on plain sentences; they differ in characters that one normalizes and the other
does not, in combining marks, in spaces, and around special tokens.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random
from typing import Any

_SEED = 20_26
#: How many texts odd_texts() gives.
COUNT = 10_000
# Tokens of the longest texts.
_USUAL = 512
_WORD_LIST = """
The quick BROWN fox's don't 3.14 1,000,000 e-mail a I xn--p1ai foo_bar C++ f(x)=>{} http://a.b/c?d#g
naïve Ångström ÉCOLE straße ΣΊΣΥΦΟΣ İstanbul Ёлка Привет україна Việt Nguyễn ქართული Հայերեն አማርኛ
中文 日本語 ひらがな カタカナ ｶﾞｷﾞ 한국어 ไทย ภาษา हिन्दी বাংলা தமிழ் עברית שָׁלוֹם العربية مُحَمَّد فارسی
ＡＢＣ１２３ ﬁﬂ ½ x² №5 ™ … “quoted” 😀 👍🏽 👨\u200d👩\u200d👧\u200d👦 🇩🇪🇫🇷
1️⃣ ☃️ 𝔘𝔫𝔦 𓀀 𠮷 \ue000 \u200bzero soft\u00adhyphen
"""
_WORDS = _WORD_LIST.split()
_SPACES = (
    " ", "  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u1680", "\u2003",
    "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\u2060", "\ufeff", "\u2581",
    "\n\n\n", "   ",
)  # fmt: skip
_MARKS = (
    "\u0300\u0301\u0302\u0308\u0323\u0328\u0345\u0485"
    "\u05b0\u064b\u0941\u0e31\u20d0\u3099\ufe0f\u200d"
)
_ENDS = (0x3000, 0x18000, 0x32000, 0xE01F0, 0x110000)


def odd_texts(
    tokens: Sequence[str] = (), words: Sequence[str] = (), most: int | None = None
) -> list[str]:
    """Returns COUNT texts, some of them around a maximum length in tokens.

    They have words of a tokenizer's vocabulary, and its added tokens literally.
    """
    maker = _Maker(Random(_SEED), list(tokens) or ["[SEP]"], list(words) or _WORDS, most or _USUAL)
    return list(islice(maker.texts(), COUNT))


@dataclass(frozen=True)
class _Maker:
    """Makes texts; see odd_texts()."""

    random: Random
    tokens: Sequence[str]
    words: Sequence[str]
    most: int

    def texts(self) -> Iterator[str]:
        yield from ("", " ", "\n", "\u3000", "a", "\ufeff")
        kinds = [
            self._characters, self._one_character, self._mixed, self._marked, self._with_tokens,
            self._of_vocabulary, self._characters, self._mixed, self._one_character, self._marked,
        ]  # fmt: skip
        rare = cycle([self._long_word, self._blank, self._long])
        for number, kind in enumerate(cycle(kinds)):
            yield kind()
            if number % 12 == 0:
                yield next(rare)()

    def _some(self, choices: Sequence[str], least: int, most: int, between: str = "") -> str:
        return between.join(self.random.choices(choices, k=self.random.randint(least, most)))

    def _characters(self) -> str:
        end = self.random.choice(_ENDS)
        return "".join(self._character(end) for _ in range(self.random.randint(1, 24)))

    def _one_character(self) -> str:
        return f"a{self._character(self.random.choice(_ENDS))}b"

    def _character(self, end: int) -> str:
        """Returns a character before a code point, of any category: also controls and unassigned.

        Not NUL, which ends texts in ONNX Runtime's interface for C.
        """
        code = self.random.randrange(1, end)
        return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)

    def _mixed(self) -> str:
        return "".join(
            self.random.choice(_WORDS) + self.random.choice([" ", " ", "", *_SPACES])
            for _ in range(self.random.randint(1, 20))
        )

    def _marked(self) -> str:
        """Returns composed or decomposed words, with more combining marks."""
        form: Any = self.random.choice(["NFC", "NFD", "NFKC", "NFKD"])
        word = unicodedata.normalize(form, self._some(_WORDS, 1, 5, " "))
        place = self.random.randint(0, len(word))
        return word[:place] + self._some(_MARKS, 0, 3) + word[place:]

    def _with_tokens(self) -> str:
        parts = []
        for _ in range(self.random.randint(1, 8)):
            token = self.random.choice(self.tokens)
            nearly = [token.lower(), token.upper(), token[:-1], token[1:]]
            token = self.random.choice([token] * 4 + nearly)
            others = [self.random.choice(_WORDS), self.random.choice(_SPACES)]
            parts.append(self.random.choice([token, *others]))
        return "".join(parts)

    def _of_vocabulary(self) -> str:
        return self._some(self.words, 1, 12, self.random.choice(["", " "]))

    def _long_word(self) -> str:
        word = self.random.choice([*_WORDS, *self.words])
        times = self.random.randint(90, 220) // max(1, len(word))
        return f"{self.random.choice(_WORDS)} {word * times} end"

    def _blank(self) -> str:
        return self._some(_SPACES, 0, 4)

    def _long(self) -> str:
        """Returns a text of about the maximum length, or of some hundred tokens."""
        length = max(1, min(self.most, _USUAL) + self.random.randint(-4, 4))
        return " ".join(self.random.choices(["a", "the", "of", "中", "1"], k=length))
