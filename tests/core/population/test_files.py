"""The names of a task's artifacts."""

from core.population.files import checkpoint_files, is_passing, paused_file, weights_file


def test_a_tasks_artifacts_have_names_of_their_own_and_all_but_the_weights_pass() -> None:
    passing = [*checkpoint_files("2_1"), paused_file("2_1")]
    assert len({*passing, weights_file("2_1"), weights_file("2_2")}) == 5
    assert all(is_passing(name) for name in passing)
    assert not is_passing(weights_file("2_1"))
