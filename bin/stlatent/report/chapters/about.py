"""Chapter 8: parameters, provenance, how it works, whom to cite."""

from __future__ import annotations

from typing import Any

from stlatent.report.page.content import ABOUT, Fragment, escape, html_table, text_section
from stlatent.report.run import provenance
from stlatent.report.run.read import Run

FACT_NAMES = {
    "name": "Run",
    "pipeline_version": "stlatent",
    "nextflow_version": "Nextflow",
    "code_fingerprint": "Code fingerprint",
    "revision": "Git revision",
    "profile": "Profile",
    "container_engine": "Container engine",
    "command_line": "Command line",
}

NO_PARAMETERS = ("help",)
WITHOUT = {"revision": "not a checkout", "container_engine": "none"}

READ_OUT = """The genes of the reference are then read out at every location, from the nearest
reference cells or by the VAE's decoder."""
STACK = """The genes of the reference are then predicted at every location by several candidates,
among them the nearest reference cells in that space, and combined: the weight of each is learned
from measured genes that are hidden from it for the purpose."""

METHOD = """<div class="stl-prose"><p>A variational autoencoder (scVI) learns a latent space from
the single-cell reference and is then frozen. A graph encoder, which sees the measured genes of each
location and its neighbours in the tissue, is trained to place the locations in that same space. A
discriminator, trained first to tell the two apart, or another distance of the two (parameter
<em>alignment</em>), then pushes the encoder until they no longer can be told apart.
The genes that tissue and reference share anchor the alignment. {imputer}</p>
<p>Accuracy is measured by cross-validation over genes: a hidden gene is hidden from every step
after quality control, gene selection included. stlatent and the baselines see the same genes and
the same folds.</p>
<p><b>Please cite</b> besides stlatent: scVI (Lopez <em>et al.</em>, Nature Methods 2018,
<a href="https://doi.org/10.1038/s41592-018-0229-2">10.1038/s41592-018-0229-2</a>); SEDR
(Xu <em>et al.</em>, Genome Medicine 2024,
<a href="https://doi.org/10.1186/s13073-024-01283-x">10.1186/s13073-024-01283-x</a>); the
adversarial alignment of a graph autoencoder to a frozen VAE
(<a href="https://arxiv.org/abs/2311.00330">arXiv 2311.00330</a>); Nextflow
(Di Tommaso <em>et al.</em>, Nature Biotechnology 2017,
<a href="https://doi.org/10.1038/nbt.3820">10.1038/nbt.3820</a>); MultiQC
(Ewels <em>et al.</em>, Bioinformatics 2016,
<a href="https://doi.org/10.1093/bioinformatics/btw354">10.1093/bioinformatics/btw354</a>).</p>
</div>"""


def sections(run: Run) -> list[Fragment]:
    """Return the chapter."""
    method = METHOD.replace("{imputer}", STACK if run.imputations else READ_OUT)
    fragments = [text_section(ABOUT, "about_method", "How it works", method)]
    facts = [fact(name, found) for name, found in run.facts.items()]
    if facts:
        fragments.append(text_section(ABOUT, "about_run", "Run", _pairs(facts)))
    fragments += provenance.sections(run)
    if run.parameters:
        pairs = sorted(pair for pair in run.parameters.items() if pair[0] not in NO_PARAMETERS)
        half = (len(pairs) + 1) // 2
        body = f'<div class="stl-columns">{_pairs(pairs[:half])}{_pairs(pairs[half:])}</div>'
        fragments.append(text_section(ABOUT, "about_parameters", "Parameters", body))
    return fragments


def fact(name: str, found: Any) -> tuple[str, Any]:
    """Return a fact of the run under a readable name."""
    title = FACT_NAMES.get(name, name.replace("_", " ").capitalize())
    return title, WITHOUT.get(name) if found is None else found


def _pairs(pairs: list[tuple[str, Any]]) -> str:
    rows = [(escape(name), f"<code>{escape(shown(found))}</code>") for name, found in pairs]
    return html_table((), rows, "stl-narrow")


def shown(value: Any) -> str:
    """Return a parameter as the user would write it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
