import io

from rich.console import Console

from rbm_training.runtime.log import RunLog


class Clock:
    """Seconds that pass when a test says so."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


def lines_of(out):
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_without_a_terminal_a_long_stage_tells_now_and_then_how_long_it_will_last():
    out, clock = io.StringIO(), Clock()
    with RunLog(None, Console(file=out, width=40), clock) as log:
        with log.stage("teacher gcn", total=100) as stage:
            for _ in range(10):
                clock.seconds += 8
                stage.advance("validation 0.500")
        assert lines_of(out) == [
            "teacher gcn 4 of 100, 0:00:32 spent, at most 0:12:48 left, validation 0.500",
            "teacher gcn 8 of 100, 0:01:04 spent, at most 0:12:16 left, validation 0.500",
            "teacher gcn done, 10 steps in 0:01:20, validation 0.500",
        ]


def test_a_stage_that_goes_on_judges_by_what_this_process_did():
    out, clock = io.StringIO(), Clock()
    with RunLog(None, Console(file=out, width=120), clock) as log, log.stage("walks", 100, done=90) as stage:
        clock.seconds += 40
        stage.advance()
        stage.advance()
    assert lines_of(out) == [
        "walks 91 of 100, 0:00:40 spent, at most 0:06:00 left",
        "walks done, 2 steps in 0:00:40",
    ]


def test_a_terminal_has_a_bar_and_no_lines():
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True)
    with RunLog(None, console) as log, log.stage("walks", 2) as stage:
        stage.advance()
        stage.advance()
    assert "2/2" in out.getvalue()
    assert "steps in" not in out.getvalue()


def test_what_is_told_stands_beside_its_title_line_by_line():
    out = io.StringIO()
    RunLog(None, Console(file=out, width=40)).tell(
        [("nodes", "400, of which some"), ("[b]", "[red]text[/red]")]
    )
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "nodes                 400, of which some",
        "[b]                   [red]text[/red]",
    ]
