from __future__ import annotations

import pytest

from marsmith.core.errors import ProjectError
from marsmith.init.names import names_for


@pytest.mark.parametrize(
    ("archive", "module", "network"),
    [
        ("flowers", "flowers", "Flowers"),
        ("my-flowers.v2", "my_flowers_v2", "MyFlowersV2"),
        ("7up", "model_7up", "Model7up"),
        ("json", "json_net", "JsonNet"),
        ("torch", "torch_net", "TorchNet"),
        ("class", "class_net", "ClassNet"),
    ],
)
def test_names_are_made_of_the_archives(archive: str, module: str, network: str) -> None:
    names = names_for(archive)
    assert (names.module, names.network, names.handler) == (module, network, f"{network}Handler")


@pytest.mark.parametrize("archive", ["", "-a", "a b", "a/b", "../a"])
def test_a_bad_name_is_refused(archive: str) -> None:
    with pytest.raises(ProjectError) as error:
        names_for(archive)
    assert error.value.code == "archive-name"
