"""Published results against predictions, and an author's own table against physics.

`reproduce("fastv")` runs the rows of the published table that a cost model can say something about; each result carries the
published figure, the predicted one with its 80 % band, the physical floor and a verdict with its reason. What a paper leaves
out is drawn from one stated prior (`simulator.reproduce.prior`), the same for every row; nothing is fitted to a row.
"""

from __future__ import annotations

from simulator.reproduce.review import Finding as Finding
from simulator.reproduce.review import review as review
from simulator.reproduce.run import reproduce as reproduce
from simulator.reproduce.score import Score as Score
from simulator.reproduce.score import summary as summary
from simulator.reproduce.table import Row as Row
from simulator.reproduce.table import load_table as load_table
from simulator.reproduce.verdict import Result as Result
