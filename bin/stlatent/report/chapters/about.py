"""About this run: parameters, provenance, how it works, whom to cite."""

from __future__ import annotations

from typing import Any

from stlatent.baselines.registry import METHODS
from stlatent.records.inputs import InputFile
from stlatent.records.run import UsedInput
from stlatent.report.page.blocks import Block, Html
from stlatent.report.page.markup import escape, html_table, scroll
from stlatent.report.run import provenance
from stlatent.report.run.model import Run
from stlatent.vae import registry

ID = "about"
TITLE = "About this run"
TEXT = "Method, parameters and provenance."

FILES_SHOWN = 200
UNITS = ("B", "KB", "MB", "GB", "TB")

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

NO_IMAGES = """<p>The tasks ran without containers, in the Python environment beside the pipeline or in
the one that was active. The versions of its packages are listed below.</p>"""

METHOD = """<div class="stl-prose"><p>A model of the single-cell reference{models} learns a
latent space and is then frozen. A graph encoder, which sees the measured genes of each
location and its neighbours in the tissue, is trained to place the locations in that same space. A
discriminator, trained first to tell the two apart, or another distance of the two (parameter
<em>alignment</em>), then pushes the encoder until the two can no longer be told apart.
The genes that tissue and reference share anchor the alignment. Several candidates, among them the
nearest reference cells in that space, then predict the genes of the reference at every location.
Their predictions are combined: the weight of each candidate is learned from measured genes that are
hidden from it for the purpose.</p>
<p>Accuracy is measured by cross-validation over genes: a hidden gene is hidden from every step
after quality control, gene selection included. stlatent and the baselines see the same genes and
the same folds.</p>
<p><b>Please cite</b> besides stlatent: {papers}SEDR
(Xu <em>et al.</em>, Genome Medicine 2024,
<a href="https://doi.org/10.1186/s13073-024-01283-x">10.1186/s13073-024-01283-x</a>); the
adversarial alignment of a graph autoencoder to a frozen VAE
(<a href="https://arxiv.org/abs/2311.00330">arXiv 2311.00330</a>); {baselines}Nextflow
(Di Tommaso <em>et al.</em>, Nature Biotechnology 2017,
<a href="https://doi.org/10.1038/nbt.3820">10.1038/nbt.3820</a>); MultiQC
(Ewels <em>et al.</em>, Bioinformatics 2016,
<a href="https://doi.org/10.1093/bioinformatics/btw354">10.1093/bioinformatics/btw354</a>).</p>
</div>"""


def overview(run: Run) -> list[Block]:
    """Return how it works, the facts of the run, what it is made of, and its parameters."""
    models = [registry.get(name) for name in trained_vaes(run)]
    titles = ", ".join(model.title for model in models)
    baselines = [citation(name, METHODS[name].cite) for name in compared_with(run)]
    method = METHOD.format(
        models=f" ({titles})" if titles else "",
        papers="".join(citation(model.title, model.cite) for model in models),
        baselines="".join(baselines),
    )
    return [
        Html(id="about_method", title="How it works", body=method),
        *facts(run),
        *input_files(run),
        *images(run),
        *parameters(run),
    ]


def facts(run: Run) -> list[Block]:
    """Return what is known of the run."""
    if not run.facts:
        return []
    body = _pairs([fact(name, found) for name, found in run.facts.items()])
    return [Html(id="about_run", title="Run", body=body)]


def parameters(run: Run) -> list[Block]:
    """Return the parameters in two columns."""
    if not run.parameters:
        return []
    pairs = sorted(pair for pair in run.parameters.items() if pair[0] not in NO_PARAMETERS)
    half = (len(pairs) + 1) // 2
    body = f'<div class="stl-columns">{_pairs(pairs[:half])}{_pairs(pairs[half:])}</div>'
    return [Html(id="about_parameters", title="Parameters", body=body)]


def compared_with(run: Run) -> list[str]:
    """Return the methods to compare with that have a paper."""
    names = str(run.parameters.get("baselines", "")).split(",")
    return [name for name in names if name in METHODS and METHODS[name].cite]


def trained_vaes(run: Run) -> list[str]:
    """Return the names of the VAEs that were trained."""
    return sorted({history.vae for history in run.vaes.values()})


def citation(name: str, cite: str) -> str:
    """Return a method with its paper, as an item of a list before others."""
    paper, _, address = cite.rpartition(", ")
    shown = address.removeprefix("https://").removeprefix("doi.org/")
    return f'{escape(name)} ({escape(paper)}, <a href="{address}">{shown}</a>); '


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


def input_files(run: Run) -> list[Block]:
    """Return the files of all inputs with sizes and SHA-256."""
    rows = [
        (used, escape(name), escape(readable(file.bytes)), digest(file.sha256))
        for source in provenance.inputs(run)
        for used in [escape(", ".join(source.used_by) or "none that ran")]
        for name, file in listed(source)
    ]
    if not rows:
        return []
    more = len(rows) - FILES_SHOWN
    rest = f"<p>{more:,} more are in <code>ro-crate-metadata.json</code>.</p>" if more > 0 else ""
    text = (
        "As they were read; <code>sha256sum FILE</code> gives the same for the same file. In "
        "a folder only what is needed was read. Where they lie is in "
        "<code>ro-crate-metadata.json</code>."
    )
    header = ("Sample or reference", "File", "Size", "SHA-256")
    body = scroll(html_table(header, rows[:FILES_SHOWN], "stl-narrow stl-files")) + rest
    return [Html(id="about_inputs", title="Input files", text=text, body=body)]


def listed(source: UsedInput) -> list[tuple[str, InputFile]]:
    """Return the files of an input under the names by which users know them."""
    folder = source.path.rstrip("/").rpartition("/")[2]
    # A file has the name of its input; what is in a folder has a name of its own.
    inside = [
        (file.name if file.name == folder else f"{folder}/{file.name}", file)
        for file in source.files
    ]
    return inside + [(file.name, file) for file in source.coordinates_files]


def readable(size: int | None) -> str:
    """Return a number of bytes as text."""
    if size is None:
        return "not read"
    amount, unit = float(size), 0
    while amount >= 1024 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {UNITS[unit]}" if unit == 0 else f"{amount:.1f} {UNITS[unit]}"


def digest(value: str | None) -> str:
    """Return a checksum as HTML."""
    return f"<code>{escape(value)}</code>" if value else "not read"


def images(run: Run) -> list[Block]:
    """Return the container images; nothing where the run says nothing of containers."""
    if "container_engine" not in run.facts:
        return []
    rows = [
        (
            f"<code>{escape(image.name)}</code>",
            escape(", ".join(image.processes)),
            digest(image.digest) if image.digest else "not known",
            escape(image.basis),
        )
        for image in run.images
    ]
    header = ("Image", "Processes", "Digest", "Known from")
    body = html_table(header, rows, "stl-files") if rows else NO_IMAGES
    if run.facts["container_engine"] and not rows:
        body = "<p>Which images the tasks ran in could not be read from the table of tasks.</p>"
    return [Html(id="about_images", title="Container images", body=body)]
