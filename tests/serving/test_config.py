"""What TF Serving and Docker Compose read to serve the zoo."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from advkeras.models import zoo
from advkeras.serving.served import ServedClassifier
from advkeras.serving.signatures import signatures_of

REPOSITORY = Path(__file__).parents[2]
MODELS = REPOSITORY / "saved_models"
# By field number. tensorflow-serving-api has no BatchingParameters; these are those of its fields that are used here.
BATCHING = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")


def services():
    return yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]


def batching_parameters():
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="batching", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    field = descriptor_pb2.FieldDescriptorProto
    for number, name in enumerate(BATCHING, start=1):
        message.field.add(
            name=name,
            number=number,
            label=field.LABEL_OPTIONAL,
            type=field.TYPE_MESSAGE,
            type_name=".google.protobuf.Int64Value",
        )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("batching.BatchingParameters"))()
    return text_format.Parse((MODELS / "batching.config").read_text(), made)


def test_the_zoo_is_what_is_served():
    text = (MODELS / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    served = config.model_config_list.config
    assert tuple(model.name for model in served) == zoo.names()
    assert [model.base_path for model in served] == [f"/models/{name}" for name in zoo.names()]
    assert {model.model_platform for model in served} == {"tensorflow"}


def test_requests_may_be_put_together(exported):
    parameters = batching_parameters()
    assert all(getattr(parameters, name).value > 0 for name in BATCHING)
    # What advkeras probe sends at once.
    assert parameters.max_batch_size.value >= ServedClassifier.at_once
    # TF Serving joins requests along the first dimension of every input, and parts every output along it.
    for name, signature in signatures_of(exported / "1").items():
        tensors = [*signature.inputs.values(), *signature.outputs.values()]
        assert all(tensor.shape and tensor.shape[0] is None for tensor in tensors), name


@pytest.mark.parametrize("name", ["serving", "serving-gpu"])
def test_compose_gives_the_server_no_more_than_it_needs(name):
    service = services()[name]
    assert service["volumes"] == ["./saved_models:/models:ro"]
    assert service["user"].split(":")[0] not in ("0", "root")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    assert "--enable_batching" in service["command"]  # without it the server refuses the file of its parameters
    files = [word.split("=/models/")[1] for word in service["command"] if "=/models/" in word]
    assert files == ["models.config", "batching.config"]
    assert all((MODELS / file).is_file() for file in files)


def test_docker_compose_up_starts_one_of_the_two():
    assert [name for name, service in services().items() if "profiles" not in service] == ["serving"]
    assert services()["serving-gpu"]["image"] == services()["serving"]["image"] + "-gpu"


@pytest.mark.skipif(shutil.which("bash") is None, reason="the image's health check is a line of bash")
def test_the_health_check_knows_whether_the_model_is_there(server):
    program, option, line = services()["serving"]["healthcheck"]["test"][1:]
    here = line.replace("8501", server.rest.rsplit(":", 1)[1])

    def healthy(line: str) -> bool:
        return subprocess.run([program, option, line], capture_output=True, timeout=30, check=False).returncode == 0

    assert healthy(here.replace("mnist-natural", "small"))
    assert not healthy(here)
    assert not healthy(line.replace("8501", "9"))
