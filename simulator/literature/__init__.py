"""The living literature: entries, presets and evidence, and how to cite them."""

from simulator.literature.catalogue import add as add
from simulator.literature.catalogue import check as check
from simulator.literature.catalogue import coverage as coverage
from simulator.literature.catalogue import find as find
from simulator.literature.catalogue import load_entries as load_entries
from simulator.literature.catalogue import search as search
from simulator.literature.citation import bibtex as bibtex
from simulator.literature.citation import citation as citation
from simulator.literature.entry import Entry as Entry
from simulator.literature.evidence import Evidence as Evidence
from simulator.literature.evidence import load_evidence as load_evidence
from simulator.literature.export import export as export
from simulator.literature.presets import Preset as Preset
from simulator.literature.presets import load_presets as load_presets
