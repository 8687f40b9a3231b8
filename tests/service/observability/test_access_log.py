import asyncio

from structlog.testing import capture_logs

from rbm_service.observability.logging import AccessLog


def test_the_lines_of_one_turn_are_written_in_order_when_everyone_has_the_answer():
    async def scenario():
        access_log = AccessLog()
        with capture_logs() as lines:
            for turn in (1, 2):
                for number in range(3):
                    access_log.note(turn=turn, number=number)
                assert len(lines) == 3 * (turn - 1)
                await asyncio.sleep(0)
        return lines

    lines = asyncio.run(scenario())
    assert [(line["turn"], line["number"]) for line in lines] == [(t, n) for t in (1, 2) for n in range(3)]
    assert {line["event"] for line in lines} == {"request"}
