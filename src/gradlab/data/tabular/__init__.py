"""How the columns of a table become numbers: learnt from some rows, then done to any.

column    what is learnt of a column: a value that a run's JSON holds
learn     what each column is: a number, a category, a date, free text, or no input
written   how numbers are written in text; `dates` and `words` likewise
encode    rows as the values that are kept of them
"""

from gradlab.data.tabular.column import LARGEST, DatePart, TableColumn, batches, is_plain
from gradlab.data.tabular.encode import encode, surprises, unreadable
from gradlab.data.tabular.learn import decimal_sign, learn, names_rows
from gradlab.data.tabular.written import Decimal, numbers_in

__all__ = [
    "LARGEST",
    "DatePart",
    "Decimal",
    "TableColumn",
    "batches",
    "decimal_sign",
    "encode",
    "is_plain",
    "learn",
    "names_rows",
    "numbers_in",
    "surprises",
    "unreadable",
]
