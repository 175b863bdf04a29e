"""What all tests share: the two packages, the outside data, the profiles of hypothesis."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: the tests themselves run on all cores

import hypothesis
import hypothesis.database
import pytest

import llama2_fast
import llama2_ref

pytest_plugins = ["llama2_fast.conformance.plugin"]

PACKAGES = {"llama2_ref": llama2_ref, "llama2_fast": llama2_fast}

# `dev` is for quick looks between two edits; `ci` repeats the same inputs, so that a red test is red for everyone;
# `nightly` looks for new ones, and climbs towards the bounds (make fuzz); `regress` only replays what is kept: examples
# that are written in the tests, and those of the database.
COMMON: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
WITHOUT_CLIMBING = [phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.target]
PROFILES: dict[str, dict[str, Any]] = {
    "dev": {"max_examples": 20, "phases": WITHOUT_CLIMBING},
    "ci": {"max_examples": 100, "derandomize": True, "phases": WITHOUT_CLIMBING},
    "nightly": {"max_examples": int(os.environ.get("LLAMA2_FUZZ_EXAMPLES", "500")), "print_blob": True},
    "regress": {"phases": [hypothesis.Phase.explicit, hypothesis.Phase.reuse]},
}


def pytest_conformance_folder() -> Path:
    """Where the tests of implementations are: see `Hooks` of llama2_fast.conformance.plugin."""
    return Path(__file__).parent / "fuzz"


def pytest_configure(config: pytest.Config) -> None:
    """Load the profile that $HYPOTHESIS_PROFILE names, with the database that $LLAMA2_FUZZ_DB names."""
    name = os.environ.get("HYPOTHESIS_PROFILE", "ci")
    if name not in PROFILES:
        raise pytest.UsageError(f"HYPOTHESIS_PROFILE must be one of {', '.join(PROFILES)} (got {name!r})")
    if url := os.environ.get("LLAMA2_FUZZ_DB"):
        PROFILES[name] |= {"database": None if PROFILES[name].get("derandomize") else shared_database(config, url)}
    # Where $CI is set, hypothesis has other defaults, with no new inputs and no database: nights need both.
    default = hypothesis.settings.get_profile("default")
    hypothesis.settings.register_profile(name, default, **PROFILES[name], **COMMON)
    hypothesis.settings.load_profile(name)


def shared_database(config: pytest.Config, url: str) -> hypothesis.database.ExampleDatabase:
    """The database of examples at redis://..., which many machines can share. Raises pytest.UsageError in one line."""
    try:
        import redis
        from hypothesis.extra.redis import RedisExampleDatabase
    except ImportError:
        rule = "the redis package must be installed for LLAMA2_FUZZ_DB"
        raise pytest.UsageError(f"{rule}: pip install 'llama2-twins[dev]'") from None
    try:
        server = redis.Redis.from_url(url)
        config.add_cleanup(server.close)
        server.ping()
    except (ValueError, redis.RedisError) as error:
        rule = "LLAMA2_FUZZ_DB must be the address of a Redis server that answers, redis://HOST:PORT"
        raise pytest.UsageError(f"{rule} (got {url!r}: {error})") from None
    return RedisExampleDatabase(server)


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


@pytest.fixture
def sigint_ignored() -> Iterator[None]:
    """SIGINT is ignored here, as by what `make test &` or nohup starts: every test that sends one takes this fixture.

    What it starts inherits that, and has to undo it: see commands.INTERRUPTIBLE.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real checkpoints and known answers, which are not part of this project.

    It is $LLAMA2_DATA, else ../shared/data. Without it tests skip, or fail where LLAMA2_REQUIRE_DATA is set.
    """
    places = [Path(__file__).parents[2] / "shared" / "data"]
    if named := os.environ.get("LLAMA2_DATA"):
        places.insert(0, Path(named))
    for place in places:
        if (place / "stories260K.bin").is_file():
            return place
    reason = "stories260K.bin and its companions are neither in $LLAMA2_DATA nor in ../shared/data"
    if os.environ.get("LLAMA2_REQUIRE_DATA"):
        pytest.fail(reason)
    pytest.skip(reason)
