"""What all tests share: the two packages, the outside data, the profiles of hypothesis."""

import os
from pathlib import Path
from types import ModuleType

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: the tests themselves run on all cores

import hypothesis
import pytest

import llama2_fast
import llama2_ref

PACKAGES = {"llama2_ref": llama2_ref, "llama2_fast": llama2_fast}

# `ci` repeats the same inputs, so that a red test is red for everyone; `nightly` looks for new ones (make fuzz);
# `regress` only replays the examples that are written in the tests.
COMMON = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("ci", derandomize=True, max_examples=100, **COMMON)
hypothesis.settings.register_profile("nightly", derandomize=False, max_examples=500, print_blob=True, **COMMON)
hypothesis.settings.register_profile("regress", phases=[hypothesis.Phase.explicit, hypothesis.Phase.reuse], **COMMON)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", params=PACKAGES)
def llama2(request: pytest.FixtureRequest) -> ModuleType:
    """One of the packages: a test that takes it runs for both."""
    return PACKAGES[request.param]


@pytest.fixture(scope="session", params=["numpy", "simd"])
def backend(request: pytest.FixtureRequest) -> str:
    """One of the engines of llama2_fast: a test that takes it runs for both, where numba is installed."""
    if request.param == "simd":
        pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    return str(request.param)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real checkpoints and known answers, which are not part of this project.

    It is $LLAMA2_DATA, else ../shared/data. Without it tests skip, or fail where LLAMA2_REQUIRE_DATA is set.
    """
    places = [os.environ.get("LLAMA2_DATA"), Path(__file__).parents[2] / "shared" / "data"]
    for place in places:
        if place and (Path(place) / "stories260K.bin").is_file():
            return Path(place)
    reason = "stories260K.bin and its companions are neither in $LLAMA2_DATA nor in ../shared/data"
    if os.environ.get("LLAMA2_REQUIRE_DATA"):
        pytest.fail(reason)
    pytest.skip(reason)
