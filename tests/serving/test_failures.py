"""What others say, as one line of plain text."""

import re

import pytest
import tensorflow as tf

from advkeras.errors import first_line, plain_text
from advkeras.serving.failures import listed, said


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("plain, and \u00fcber", "plain, and \u00fcber"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\r\nlines\u2028three", "two\\r\\nlines\\u2028three"),
        ("\u202egnp.exe \u200b\ufeff\x9b\x7f", "\\u202egnp.exe \\u200b\\ufeff\\x9b\\x7f"),
        ("\ud800\U000e0041", "\\ud800\\U000e0041"),
        (None, "None"),
        (10**20, "100000000000000000000"),
    ],
)
def test_text_from_outside_is_plain(text, plain):
    assert plain_text(text) == plain
    assert plain_text(text).isprintable()


def test_text_from_outside_is_short():
    assert plain_text("x" * 10**7) == "x" * 297 + "..."
    assert plain_text("x" * 300) == "x" * 300
    assert plain_text("\x1b" * 300, limit=10) == "\\x1b\\x1..."
    assert len(said("\x1b" * 10**6)) == 300
    assert said({"a": [None] * 10**6}).endswith("...]}")
    assert said("  ") == "nothing"
    assert listed(["b\n", "a"]) == "a, b\\n"
    assert listed([]) == "none"


def test_errors_of_tensorflow_do_not_tell_of_its_graph():
    def wrong(values):
        return tf.ensure_shape(values, (7, 7))

    compiled = tf.function(wrong, input_signature=[tf.TensorSpec((None, None))])
    for call, said_by in (
        (lambda: wrong(tf.zeros((2, 2))), r"Shape of tensor input \[2,2\] is not compatible with .*"),
        (lambda: compiled(tf.zeros((2, 2))), r"Shape of tensor values \[2,2\] is not compatible with .*"),
        (lambda: tf.function(wrong)(tf.zeros((2, 2))), "ValueError: Dimension 0 in both shapes must be equal, .*"),
        (lambda: tf.zeros(3) + tf.zeros(4), "(Incompatible shapes|required broadcastable shapes).*"),
    ):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError)) as raised:
            call()
        assert re.fullmatch(said_by, first_line(raised.value))
        assert not re.search(r"\{\{|\[Op:|name:", first_line(raised.value))
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("one\ntwo")) == "one"
