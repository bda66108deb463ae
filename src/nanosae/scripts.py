"""Scripts that are written without spaces between words."""

# ranges of characters, for the brackets of a regular expression:
# Thai and Lao, Burmese, Khmer, iteration mark (々) and similar, Kana, Han
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
