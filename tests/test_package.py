"""What happens when the package is imported."""

import os
import subprocess
import sys

import pytest

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_onednn_is_turned_on_unless_the_user_has_said_otherwise(before, after):
    environment = {name: value for name, value in os.environ.items() if name != ONEDNN}
    if before is not None:
        environment[ONEDNN] = before
    script = f"import os, sys, advkeras; print(os.environ['{ONEDNN}'], 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [after, "False"]


def test_memory_that_tensorflow_has_freed_goes_back_to_the_system():
    script = "import advkeras, psutil, tensorflow as tf; own = psutil.Process().memory_info\n"
    script += "before, values = own().rss, tf.ones(2**26); held = own().rss; del values; print(before, held, own().rss)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, held, after = (int(number) / 2**20 for number in done.stdout.split())
    assert held > before + 200 > after + 100


def test_tensorflow_uses_onednn_in_these_tests():
    # Its kernels are chosen when a graph is optimised; what it was told at its import can only be asked here.
    from tensorflow.python.util import _pywrap_util_port

    assert _pywrap_util_port.IsMklEnabled() == (os.environ[ONEDNN] == "1")
