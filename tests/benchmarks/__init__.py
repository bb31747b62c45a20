"""How fast the program is: `python -m tests.benchmarks`. No part of the tests.

Each module with a function `measure` is a benchmark; what is compared is measured in
one run, in turns, so that whatever else the machine does meets both sides alike.
"""
