import pytest

from rbm_service.errors import FieldError, OverloadedError, UnknownNodeError


def test_an_error_about_the_whole_body_has_no_place():
    assert str(FieldError((), "not an object")) == "not an object"


def test_unknown_nodes_are_counted_and_the_first_five_are_shown():
    error = UnknownNodeError([1, 2, 3, 4, 5, 6])
    assert error.detail.startswith("expected ids that the model knows, got 6 unknown: 1, 2, 3, 4, 5, ...;")
    assert error.num_unknown == 6


def test_a_long_id_is_not_repeated_to_the_caller():
    assert len(UnknownNodeError(["x" * 100_000]).detail) < 250


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (1.0, "1"), (1.2, "2"), (40.0, "40")])
def test_retry_after_is_a_whole_number_of_seconds_and_at_least_one(seconds, header):
    assert OverloadedError(seconds).headers == {"Retry-After": header}
