"""Graphs of SavedModels."""

import pytest
import tensorflow as tf

from advkeras.models import Classifier
from advkeras.models.graphs import inlined
from advkeras.searches.gradients import loss_slope


def gradient_operations(classifier):
    """How many operations the graph of a gradient has, by their kind, in all that it calls."""

    def gradient(images, labels):
        return loss_slope(classifier, images, labels, targeted=False).gradient

    specs = [tf.TensorSpec((2, *classifier.input_shape)), tf.TensorSpec((2,), tf.int32)]
    graph = tf.function(gradient, autograph=False).get_concrete_function(*specs).graph.as_graph_def()
    kinds = [
        node.op for each in (graph, *graph.library.function) for node in getattr(each, "node_def", None) or each.node
    ]
    return {kind: kinds.count(kind) for kind in kinds}


def test_the_second_gradient_of_a_saved_model_adds_up_no_zeros():
    classifier = Classifier.load("mnist-pgd")
    first, second = (gradient_operations(classifier) for _ in range(2))
    assert second == first
    assert "ZerosLike" not in second


def test_what_keeps_state_is_called_as_it_is():
    draws = tf.Variable(0)

    @tf.function
    def counted(images):
        draws.assign_add(1)
        return {"logits": images + tf.random.uniform(())}

    traced = counted.get_concrete_function(tf.TensorSpec((None, 3)))
    assert inlined(traced) is traced


def test_several_outputs_keep_their_names_and_variables_are_shared():
    scale = tf.Variable(2.0)

    @tf.function
    def network(images):
        return {"b": scale * images, "a": tf.function(lambda values: values + scale)(images)}

    within = inlined(network.get_concrete_function(tf.TensorSpec((None, 2))))
    assert {name: values.numpy().tolist() for name, values in within(tf.ones((1, 2))).items()} == {
        "a": [[3.0, 3.0]],
        "b": [[2.0, 2.0]],
    }
    scale.assign(5.0)
    assert within(tf.ones((1, 2)))["b"].numpy().tolist() == [[5.0, 5.0]]


def _looped(scale):
    def network(images):
        return tf.while_loop(
            lambda index, _: index < 3, lambda index, values: (index + 1, values * scale), (tf.constant(0), images)
        )[1]

    return network


def _compiled(scale):
    return tf.function(lambda images: images * scale, jit_compile=True)


@pytest.mark.parametrize(("network", "slope"), [(_looped, 8.0), (_compiled, 2.0)])
def test_a_gradient_runs_through_what_cannot_be_inlined(network, slope):
    inner = network(tf.Variable(2.0))
    traced = tf.function(lambda images: {"logits": inner(images)}).get_concrete_function(tf.TensorSpec((None, 2)))
    assert inlined(traced) is traced

    @tf.function
    def gradient(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(inlined(traced)(images)["logits"])
        return tape.gradient(total, images)

    assert gradient(tf.ones((1, 2))).numpy().tolist() == [[slope, slope]]
