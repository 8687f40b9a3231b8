"""`docs/results.md`: what a comparison measured, as one page rendered from its lines alone."""

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Final, get_args

from rbm_training.benchmark.configurations import apart
from rbm_training.benchmark.frontier_tables import render_frontier
from rbm_training.benchmark.grid import is_point
from rbm_training.benchmark.protocols import under_both_protocols
from rbm_training.benchmark.published import Published
from rbm_training.benchmark.published_tables import render_published
from rbm_training.benchmark.records import RunLine
from rbm_training.benchmark.regime_tables import regime_table
from rbm_training.benchmark.regimes import find_regimes
from rbm_training.benchmark.statistics import RBM, RBM_HEAD, Measure, Verdict, group_by_cell
from rbm_training.benchmark.tables import (
    MISSING,
    RIVALS,
    Section,
    accuracy_table,
    cost_table,
    difference_table,
    difference_to,
    reliability_table,
    sections_of,
    table,
)

HEAD: Final = """# Results

Students that answer without a graph, beside the GNN they learn from. Rendered from `results.jsonl`, one
line a run, which `rbm-train compare` writes.

## How to read

- **Protocol cpf** is that of CPF and GLNN: the largest connected component; per class 20 labels to learn from
  and 30 to select on, drawn anew for every seed; the rest is test. Inductive: a fifth of the test nodes is
  unseen.
- **Protocol public** is that of KRD and RbM: the public split of Cora, Citeseer and Pubmed, the same for
  every seed; on the other graphs 20 and 30 labels per class, drawn anew for every seed. Inductive: where the
  split names its test nodes, all of them are unseen. On those other graphs the two protocols are one, and
  their runs stand under both.
- **Transductive**: every node is in the graph while teacher and student learn. **Inductive**: the unseen
  nodes and their edges are in nothing that is trained; they are the test nodes. *Production* is a mix of
  one part unseen and four parts observed test nodes.
- **Accuracy** is test accuracy in percent at the epoch of best *validation*; no test label chooses
  anything. `82.1 ± 0.9` is the mean over seeds and the sample standard deviation of single runs, not the
  error of the mean.
- **Differences** are in percentage points, paired: student minus rival on the same seed, so the same split
  and teacher, then averaged. In brackets the 95 % interval of the mean (paired t), from three seeds on.
  Under a fixed split it knows nothing of other splits. One interval in twenty misses by chance: read rows
  together.
- **The best baseline** is the student other than RbM and its variants with the highest mean *validation*
  accuracy; **the MLP of its FLOPs** is the one whose name says so, `mlp-flops-x` for a student `rbm-x`.
- **Bold** in a table of accuracies is a student whose paired difference to *every* other student of its row
  has an interval above zero; a higher mean alone is not enough. In a table of differences it is one whose
  interval does not hold zero.
- **≈**: equivalent. Both one-sided tests at 5 % (TOST) say that the difference is less than half a point; an
  interval that holds zero does not say that.
- **Names**: `rbm` and `moe` have experts in every layer, and with `mlp-flops` and `mlp-wide`, which cost what
  `rbm` costs, the paper's hyper-parameters where it has some; `rbm-head` and `moe-head` have experts in the
  last layer alone, and `mlp-flops-head` costs what `rbm-head` costs. A `released-` student is trained as the
  paper's released code does.
- `as mlp`: the method comes to the same student as that one, which was trained once.
- A name with six digits behind it, as in `rbm-0a1b2c`: there are runs of several configurations (or, of a
  dataset, of several graphs), each on its own. `-before`: of a release whose lines do not say.
- **Agreement** is the share of *all* nodes on which student and teacher agree, **KL** a hundred times the
  mean divergence there of the student's probabilities from the teacher's, in nats, without a temperature.
- `–`: not run, or there is no such number. `(n = 3)`: fewer seeds than the row says.
"""

GLANCE: Final = """## RbM at a glance

On how many datasets RbM is better / equivalent / undecided / worse than a rival, by the 95 % interval of the
paired difference and, where that holds zero, by TOST at half a point.

"""

REGIMES: Final = """## Regimes

Where RbM or a variant is ahead of the MLP of its FLOPs: named on seeds 0 to 4 by *validation*, the interval
above zero; confirmed by a paired t-test of *test* accuracy on at least five other seeds, two-sided, at 5 %
after Holm's correction over all regimes that are tested.

"""

DIFFERENCES: Final = """RbM and its variants minus their rivals, test accuracy, in points with 95 % intervals.
"""

AGREEMENTS: Final = """The same of their agreement with the teacher on all nodes.
"""

RELIABILITY: Final = """\
Single runs against the teacher of their own seed, over all datasets above, in points. The last column is what
reporting the highest test accuracy of any epoch, instead of the selected one, would add on average.
"""

PUBLISHED: Final = """\
Test accuracy in percent as the sources print it, and in bold rows what comes nearest here.
Splits, teachers and tuning differ between sources: a gap of a point says little. \\* means that the source
should be read with caution; the list below says why.
"""

COSTS: Final[tuple[tuple[str, Measure], ...]] = (
    ("Parameters", "num_parameters"),
    ("FLOPs of one answer, a multiply-add counted as two", "flops_per_node"),
    ("Seconds of a run on the machine it ran on, beside whatever else ran there", "seconds"),
)
ACCURACIES: Final[dict[str, tuple[tuple[str, Measure], ...]]] = {
    "transductive": (("Test accuracy", "test_accuracy"),),
    "inductive": (
        ("Accuracy on unseen nodes", "test_accuracy"),
        ("Accuracy on observed test nodes", "observed_test_accuracy"),
        ("Production accuracy", "production_accuracy"),
    ),
}
LIKENESS: Final[tuple[tuple[str, Measure], ...]] = (
    ("Agreement with the teacher on all nodes", "agreement"),
    ("KL from the teacher on all nodes, times 100", "kl"),
)


def render_results(lines: Iterable[RunLine], published: Published) -> str:
    """The page; the same lines in another order give the same page. Points of grids have a part of their own,
    and stand in no other table."""
    runs = list(lines)
    single = [line for line in runs if not is_point(line.method)]
    sections = sections_of(apart(under_both_protocols(single)))
    parts = [HEAD, _provenance(runs), _glance(sections), _regimes(single)]
    parts += [_section(section) for section in sections]
    parts += [render_frontier(runs), _published(sections, published)]
    return "\n".join(part for part in parts if part)


def _provenance(runs: list[RunLine]) -> str:
    if not runs:
        return "No runs yet.\n"
    releases = Counter(
        f"of release {line.release}" if line.release else "of releases whose lines name none" for line in runs
    )
    commits = Counter(line.git_commit or "an unknown commit" for line in runs)
    of_releases = ", ".join(f"{number} {name}" for name, number in sorted(releases.items()))
    named = ", ".join(f"{number} at {_short(commit)}" for commit, number in sorted(commits.items()))
    return f"{len(runs)} runs, {of_releases}: {named}.\n"


def _short(commit: str) -> str:
    """A commit's first digits, and whether the code was changed since."""
    if " " in commit:
        return commit
    digits, dash, changed = commit.partition("-")
    return f"`{digits[:10]}{dash}{changed}`"


def _glance(sections: list[Section]) -> str:
    rows = []
    for section, method in itertools.product(sections, (RBM, RBM_HEAD)):
        tallies = [_tally(section, method, rival) for rival in RIVALS]
        if any(tally != MISSING for tally in tallies):
            rows.append([f"[{section.title}](#{_anchor(section.title)})", method, *tallies])
    if not rows:
        return ""
    return GLANCE + table(["", "student", *RIVALS], rows, num_text_columns=2)


def _tally(section: Section, method: str, rival: str) -> str:
    differences = [difference_to(runs, method, rival) for runs in section.cells]
    verdicts = Counter[Verdict](found.verdict for found in differences if found is not None)
    return " / ".join(str(verdicts[verdict]) for verdict in get_args(Verdict)) if verdicts else MISSING


def _regimes(runs: list[RunLine]) -> str:
    regimes = find_regimes(group_by_cell(apart(runs)))
    return REGIMES + regime_table(regimes) if regimes else ""


def _section(section: Section) -> str:
    parts = [f"## {section.title}\n"]
    for title, measure in (*ACCURACIES[section.setting], *LIKENESS):
        if accuracies := accuracy_table(section, measure):
            parts += [f"### {title}\n", accuracies]
    if differences := difference_table(section):
        parts += ["### Differences\n", DIFFERENCES, differences]
    if agreements := difference_table(section, "agreement"):
        parts += [AGREEMENTS, agreements]
    parts += ["### Reliability\n", RELIABILITY, reliability_table(section)]
    parts.append("<details><summary>Costs: parameters, FLOPs, seconds</summary>\n")
    for title, measure in COSTS:
        parts += [f"{title}:\n", cost_table(section, measure)]
    parts.append("</details>\n")
    return "\n".join(parts)


def _published(sections: list[Section], published: Published) -> str:
    text = render_published(sections, published)
    return "\n".join(["## Beside published numbers\n", PUBLISHED, text]) if text else ""


def _anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
