"""What hides or steers in a text is shown as a mark."""

from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.report.diagnosis import Mark
from hicra_cli.report.visible import Piece, pieces, visible


def test_control_and_direction_characters_become_marks():
    assert visible("a\x1b[31mb") == "a␛[31mb"
    assert visible("\u202etxt.exe\u200b\x7f\x85") == "⟨U+202E⟩txt.exe⟨U+200B⟩␡⟨U+0085⟩"
    assert visible("lone \ud800 and \U000e0041") == "lone ⟨U+D800⟩ and ⟨U+E0041⟩"


def test_ordinary_text_stays():
    text = "if x ≤ π,\tthen “ok”\nété 日本語 🙂"
    assert visible(text) == text


def test_stacked_accents_are_cut():
    assert visible("a" + "\u0301" * 50 + "b") == "a" + "\u0301" * 3 + "b"


@given(st.text())
def test_the_result_holds_nothing_hidden_and_is_stable(text):
    shown = visible(text)
    assert all(character.isprintable() or character in "\n\t" or character.isspace() for character in shown)
    assert visible(shown) == shown


def test_overlapping_grams_are_one_stretch():
    marks = [Mark(0, 6, "let me", "deduction"), Mark(4, 12, "me think", ""), Mark(20, 23, "now", "branching")]
    assert pieces("let me think about, now", marks, limit=100) == [
        Piece("let me think", "let me · me think", "deduction"),
        Piece(" about, "),
        Piece("now", "now", "branching"),
    ]


def test_a_long_text_is_cut_also_inside_a_gram():
    assert pieces("so let me think", [Mark(3, 15, "let me think", "")], limit=6) == [
        Piece("so "),
        Piece("let", "let me think", ""),
    ]


@given(
    st.text(max_size=60), st.lists(st.tuples(st.integers(0, 59), st.integers(1, 20)), max_size=5), st.integers(0, 80)
)
def test_pieces_lose_no_character(text, spans, limit):
    marks = [Mark(start, min(start + width, len(text)), "g", "") for start, width in spans if start < len(text)]
    assert "".join(piece.text for piece in pieces(text, marks, limit=limit)).startswith(visible(text[:limit])[:5])
    plain = text.replace("\u0300", "")
    if visible(plain) == plain == text:
        assert "".join(piece.text for piece in pieces(text, marks, limit=limit)) == text[:limit]
