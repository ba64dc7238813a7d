"""Which GPU a process sees, and what it is called there and in records."""

import pytest

from core.environment.gpus import OWN, VISIBLE, for_torch, names, own_only, parts_of

UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
MACHINES: dict[str, dict[str, str]] = {
    "all": {},
    "two of them": {VISIBLE: "2,5"},
    "by id, with a space": {VISIBLE: f"{UUID}, MIG-1"},
    "one": {VISIBLE: "3"},
    "none": {VISIBLE: ""},
}


def driver(environment: dict[str, str], machine: int = 8) -> list[str]:
    """The GPUs that the driver shows a process, in the order in which torch counts them."""
    visible = environment.get(VISIBLE)
    return [str(i) for i in range(machine)] if visible is None else visible.split(",")


@pytest.mark.parametrize("machine", MACHINES)
def test_a_worker_of_one_gpu_sees_that_one_and_keeps_its_name(machine: str) -> None:
    around = MACHINES[machine]
    for number, gpu in enumerate(each.strip() for each in driver(around) if each):
        device = f"cuda:{number}"
        inside = {**around, **own_only(device, around)}
        assert driver(inside) == [gpu]
        assert names(1, inside) == (device,)
        assert for_torch(device, inside) == "cuda:0"
        # Its own trainer, which has the same variables, sees no less.
        assert {**inside, **own_only(device, inside)} == inside


@pytest.mark.parametrize("machine", MACHINES)
def test_a_worker_of_the_cpu_sees_no_gpu(machine: str) -> None:
    around = MACHINES[machine]
    inside = {**around, **own_only("cpu", around)}
    assert inside[VISIBLE] == ""
    assert (names(0, inside), for_torch("cpu", inside)) == ((), "cpu")


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:x"])
def test_a_worker_that_may_choose_sees_what_there_is(device: str) -> None:
    assert own_only(device, {VISIBLE: "2,5"}) == {}
    assert names(2, {VISIBLE: "2,5"}) == ("cuda:0", "cuda:1")
    assert for_torch("cuda:1", {VISIBLE: "2,5"}) == "cuda:1"


def test_a_gpu_beyond_those_that_are_visible_is_left_to_the_worker_to_refuse() -> None:
    assert own_only("cuda:2", {VISIBLE: "2,5"}) == {}
    # A worker that is itself one of several starts nobody with another's name.
    assert names(2, {OWN: "cuda:1"}) == ("cuda:0", "cuda:1")


@pytest.mark.parametrize(
    ("wanted", "count", "devices"),
    [
        ("auto", 3, ("cuda:0", "cuda:1", "cuda:2")),
        ("auto", 0, ("cpu",)),
        ("cuda", 2, ("cuda:0", "cuda:1")),
        ("cuda:1", 2, ("cuda:1",)),
        ("cuda:1, cpu,cuda:0", 2, ("cuda:1", "cpu", "cuda:0")),
        ("cpu,cpu", 0, ("cpu", "cpu")),
        ("cuda:0,cuda:0", 1, ("cuda:0", "cuda:0")),
    ],
)
def test_devices_are_divided_among_workers(
    wanted: str, count: int, devices: tuple[str, ...]
) -> None:
    assert parts_of(wanted, count, {}) == devices


@pytest.mark.parametrize(
    ("wanted", "count", "words"),
    [
        ("cuda", 0, ("no GPU that is visible", "--devices cpu")),
        ("cuda:2", 2, ("'cuda:2'", "only: cuda:0, cuda:1, cpu")),
        ("cpu,cuda:0", 0, ("'cuda:0'", "only: cpu.")),
        ("", 2, ("''", "is no device", "cuda:0,cuda:1")),
        ("cuda:0,", 2, ("''", "is no device")),
        ("cuda:0;cuda:1", 2, ("'cuda:0;cuda:1'", "is no device")),
        ("auto,cpu", 2, ("'auto'", "is no device")),
        ("cuda:01", 2, ("'cuda:01'", "is no device")),
        ("gpu0", 2, ("'gpu0'", "is no device")),
    ],
)
def test_devices_that_are_none_are_refused_with_the_way_out(
    wanted: str, count: int, words: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=r"device|GPU") as refusal:
        parts_of(wanted, count, {})
    assert all(word in str(refusal.value) for word in words)


def test_a_container_that_was_given_gpus_does_not_train_on_the_cpu_unasked() -> None:
    for given in ("", "void", "none"):
        assert parts_of("auto", 0, {"NVIDIA_VISIBLE_DEVICES": given}) == ("cpu",)
    with pytest.raises(ValueError, match="no GPU that is visible"):
        parts_of("auto", 0, {"NVIDIA_VISIBLE_DEVICES": "all"})
