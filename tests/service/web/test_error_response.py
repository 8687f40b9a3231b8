import json

from rbm_service.errors import InvalidRequestError, NotFoundError
from rbm_service.web.error_response import error_body


def test_a_problem_names_its_status_its_code_and_the_request():
    assert json.loads(error_body(NotFoundError("no such route"), "/classify", "abc")[0]) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no such route",
        "code": "not_found",
        "request_id": "abc",
    }


def test_a_refused_field_is_named_in_the_detail_and_in_the_errors():
    described = json.loads(
        error_body(InvalidRequestError.at("features", 3, 0, msg="too big"), "/classify", "abc")[0]
    )
    assert described["detail"] == "features[3][0]: too big"
    assert described["errors"] == [{"loc": ["features", 3, 0], "msg": "too big"}]
