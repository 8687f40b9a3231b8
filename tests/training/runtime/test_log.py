import io

from rich.console import Console

from rbm_training.runtime.log import RunLog


def test_what_is_told_stands_beside_its_title_line_by_line():
    out = io.StringIO()
    RunLog(None, Console(file=out, width=40)).tell(
        [("nodes", "400, of which some"), ("[b]", "[red]text[/red]")]
    )
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "nodes                 400, of which some",
        "[b]                   [red]text[/red]",
    ]
