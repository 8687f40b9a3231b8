from dataclasses import replace

import numpy as np
import pytest

from rbm_training.reporting.html.accuracy_sections import summary
from rbm_training.reporting.report_data import GroupAccuracy
from tests.training.report_samples import bare_report_data, full_report_data


def without_neighbors(accuracies, num_seeds):
    names = ("validation nodes, no neighbour known", "unseen nodes, no neighbour known")
    nothing = np.full(num_seeds, np.nan)
    return tuple(GroupAccuracy(name, 1_000, accuracies, nothing, accuracies + 0.02) for name in names)


@pytest.mark.parametrize(
    ("data", "accuracies", "rows"),
    [
        (
            bare_report_data(),
            [0.57],
            [("57.00", "–", "59.00"), ("57.00 (53.9–60.0)", "–", "59.00 (55.9–62.0)")],
        ),
        (full_report_data(), [0.56, 0.57, 0.58], [("57.00 ± 1.00", "–", "59.00 ± 1.00")] * 2),
    ],
    ids=["one seed", "three seeds"],
)
def test_nodes_without_a_known_neighbour_have_rows_and_a_sentence(data, accuracies, rows):
    groups = without_neighbors(np.array(accuracies), len(accuracies))
    section = summary(replace(data, without_neighbors=groups))
    wanted = [(group.group, "1,000", *cells) for group, cells in zip(groups, rows, strict=True)]
    assert list(section.tables[0].rows[-2:]) == wanted
    assert section.lead.endswith(
        "A new node of which no neighbour is known: 57.0 % (logistic regression 59.0 %)."
    )


def test_nothing_is_said_of_them_where_the_student_has_no_positions():
    section = summary(bare_report_data())
    assert "neighbour" not in section.lead
    assert len(section.tables[0].rows) == 1
