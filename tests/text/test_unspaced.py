"""Words of scripts without spaces."""

import pytest

from nanosae.text.tokens import characters
from nanosae.text.unspaced import unspaced_words

# cut by hand
SENTENCES = [
    "りんご を 食べ て ください",
    "東京 の 駅前 で 新聞 を 読む",
    "音楽 を 再生 する プレーヤー です",
    "画像 変換 ライブラリ",
    "今天 是 晴天",
    "我 喜欢 苹果 和 香蕉",
    "這 是 比較 檔案 的 工具",
    "用 於 比較 檔案",
    "ฉัน ชอบ กิน ข้าว ผัด",
    "วัน นี้ อากาศ ดี มาก",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences_are_cut_where_a_reader_would(sentence):
    run = sentence.replace(" ", "")
    words = unspaced_words(run, run)
    assert words == sentence.split()
    assert words != characters(run)


def test_words_are_all_of_the_run():
    for run in ("မြန်မာဘာသာ", "ພາສາລາວ", "プレーヤーのปุ่ม"):
        assert "".join(unspaced_words(run, run)) == run


def test_kana_elsewhere_in_the_text_tells_japanese_from_chinese():
    assert unspaced_words("東京駅", "東京駅 へ 行く") == ["東京駅"]


def test_other_scripts_give_characters_with_their_marks():
    assert unspaced_words("မြန်မာ", "မြန်မာ") == characters("မြန်မာ")
