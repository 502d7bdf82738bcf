"""
Trials in which nothing is changed: what fails in them would be counted as a change that was noticed.

``python -m tests.quality.control N JOBS [FUNCTION...]``, in a directory in which mutmut has measured the tests, takes
the tests of up to N functions, and of these, and runs each function's as those of its mutants are run. It prints the
functions whose tests fail.
"""

import math
import random
import sys
from collections.abc import Iterable, Sequence

UNCHANGED = "0"
"""The number of a mutant that no function has; mutmut counts from 1."""


def chosen(functions: Iterable[str], number: int) -> list[str]:
    """
    So many of them, the same each time.
    """
    everything = sorted(functions)
    return random.Random(0).sample(everything, min(number, len(everything)))


def main(number: int, jobs: int, besides: Sequence[str]) -> None:
    """
    Try, and print the names of those that fail.
    """
    # mutmut reads its settings where it is imported.
    from mutmut.configuration import config
    from mutmut.mutation.trampoline import set_mutant_under_test
    from mutmut.state import state
    from mutmut.stats import load_stats
    from mutmut.utils.file_utils import setup_source_paths
    from mutmut.workers.isolation import get_mutant_runner

    if not load_stats():
        sys.exit("the tests were not measured")
    setup_source_paths()
    set_mutant_under_test("")
    tests = {function: tests for function, tests in state().tests_by_mangled_function_name.items() if tests}
    seconds = {
        function: sum(state().duration_by_test[test] for test in run) + config().timeout_constant
        for function, run in tests.items()
    }
    runner = get_mutant_runner(jobs)
    failed = []

    def await_one() -> None:
        result = runner.wait_for_result()
        if result.exit_code:
            failed.append(f"{result.mutant_name} ended with {result.exit_code}")

    runner.startup()
    for function in sorted({*chosen(tests, number), *besides}):
        while not runner.has_capacity():
            await_one()
        limit_s = math.ceil(seconds[function] * config().timeout_multiplier * 2)  # as mutmut has it
        runner.submit(f"{function}__mutmut_{UNCHANGED}", list(tests[function]), limit_s, seconds[function])
    runner.signal_work_complete()
    while runner.pending_count():
        await_one()
    runner.shutdown()
    print("\n".join(sorted(failed)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
