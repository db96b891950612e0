"""Mutants: Rowcast broken on purpose, one rule of its protocol at a time, to see that the tests tell.

In: patches/*.patch, each with the rule it breaks, what a user would lose, and the tests that must fail.
Out: which test caught it; docs/mutants.md has the table.

`mutant`     one patch and what its head says
`sandbox`    a copy of the checkout with one patch applied
`witness`    a pytest plugin that notes whose code ran and what failed, and why
`trial`      run a mutant's tests in its sandbox, and judge what they said
`table`      the table in docs/mutants.md
`refresh`    fit patches to code that has moved

`python -m tests.mutants` runs them all.
"""
