"""Any number of run directories as pandas DataFrames: trials, curves, best, means, comparisons.

Everything is read from the files that each run writes (``result.json``, ``metrics.csv``, and
``.hydra/`` for a run without a result). Logs are not parsed, and no network is loaded. A run that
failed, was pruned or killed, or left a damaged file is a row with a status and a reason: leaving it
out would make a search look better than it was.

The modules of this package each hold one step, and the names below are its interface.
"""

from cvae.results.columns import (
    COUNTS,
    LOWER_IS_BETTER,
    PARETO,
    PARTS,
    compact,
    labels,
    lower_is_better,
    metrics,
    numeric_columns,
    parameters,
    require_columns,
    varied,
)
from cvae.results.files import (
    Paths,
    ResultsError,
    directory_of,
    read_text,
    read_yaml,
    write_atomically,
)
from cvae.results.overrides import Value
from cvae.results.ranking import best, own_trials, pair, pareto
from cvae.results.records import (
    CURVE_FILES,
    Damaged,
    Source,
    conversions,
    curves,
    read_curves,
    samples,
)
from cvae.results.runs import STATUSES
from cvae.results.statistics import about_repeats, aggregate, compare, importance, repeats
from cvae.results.table import configuration, load

__all__ = [
    "COUNTS",
    "CURVE_FILES",
    "LOWER_IS_BETTER",
    "PARETO",
    "PARTS",
    "STATUSES",
    "Damaged",
    "Paths",
    "ResultsError",
    "Source",
    "Value",
    "about_repeats",
    "aggregate",
    "best",
    "compact",
    "compare",
    "configuration",
    "conversions",
    "curves",
    "directory_of",
    "importance",
    "labels",
    "load",
    "lower_is_better",
    "metrics",
    "numeric_columns",
    "own_trials",
    "pair",
    "parameters",
    "pareto",
    "read_curves",
    "read_text",
    "read_yaml",
    "repeats",
    "require_columns",
    "samples",
    "varied",
    "write_atomically",
]
