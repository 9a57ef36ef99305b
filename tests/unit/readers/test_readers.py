"""Readers: every format gives the same data, and broken files are described in plain words."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import io, sparse

from builders.project import ROOT
from check_input import main as check_input
from describe_input import main as describe_input
from ingest import main as ingest_input
from parse_sheet import main as parse_sheet
from stlatent import slots
from stlatent.evaluation.alignment_quality import labels_of
from stlatent.failures import DataError
from stlatent.readers.coordinates import read_coordinates
from stlatent.readers.describe import describe
from stlatent.readers.load import read
from stlatent.readers.symbols import merge_repeated, symbols

COUNTS = np.array([[1, 0, 3], [0, 5, 0], [7, 0, 0], [0, 2, 1]], dtype=np.float32)
CELLS = ["AAA-1", "CCC-1", "GGG-1", "TTT-1"]
GENES = ["Actb", "Sst", "mt-Co1"]
PLACES = np.array([[10.0, 1.0], [20.0, 2.0], [30.0, 3.0], [40.0, 4.0]])


@pytest.fixture
def coordinates(tmp_path: Path) -> Path:
    path = tmp_path / "places.csv"
    table = pd.DataFrame({"barcode": CELLS, "x": PLACES[:, 0], "y": PLACES[:, 1]})
    table.iloc[::-1].to_csv(path, index=False)
    return path


def spatial_h5ad(path: Path, **parts: object) -> Path:
    obs = pd.DataFrame({"region": ["a", "b", None, "a"]}, index=CELLS)
    obsm = {"spatial": PLACES}
    content = {"X": sparse.csr_matrix(COUNTS), "obs": obs, "obsm": obsm} | parts
    adata = anndata.AnnData(**content)
    if "var" not in parts:
        adata.var_names = GENES
    adata.write_h5ad(path)
    return path


def write_h5ad(folder: Path) -> Path:
    return spatial_h5ad(folder / "a.h5ad", obsm={})


def write_csv(folder: Path) -> Path:
    path = folder / "counts.csv"
    pd.DataFrame(COUNTS, CELLS, GENES).to_csv(path)
    return path


def write_tsv_gz_transposed(folder: Path) -> Path:
    path = folder / "counts.tsv.gz"
    pd.DataFrame(COUNTS.T, GENES, CELLS).to_csv(path, sep="\t")
    return path


def write_r_table(folder: Path) -> Path:
    path = folder / "counts.txt"
    rows = [f"{cell}\t" + "\t".join(map(str, row)) for cell, row in zip(CELLS, COUNTS, strict=True)]
    path.write_text("\n".join(["\t".join(GENES), *rows]) + "\n")
    return path


def write_mtx_v3(folder: Path) -> Path:
    path = folder / "filtered_feature_bc_matrix"
    path.mkdir()
    with gzip.open(path / "matrix.mtx.gz", "wb") as file:
        io.mmwrite(file, sparse.coo_matrix(np.vstack([COUNTS.T, [9, 9, 9, 9]]).astype(int)))
    kinds = ["Gene Expression"] * 3 + ["Antibody Capture"]
    lines = [f"id{i}\t{gene}\t{kind}" for i, (gene, kind) in
             enumerate(zip([*GENES, "CD3"], kinds, strict=True))]  # fmt: skip
    with gzip.open(path / "features.tsv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    with gzip.open(path / "barcodes.tsv.gz", "wt") as file:
        file.write("\n".join(CELLS) + "\n")
    return path


def write_mtx_v2(folder: Path) -> Path:
    path = folder / "hg19"
    path.mkdir()
    io.mmwrite(path / "matrix.mtx", sparse.coo_matrix(COUNTS.T.astype(int)))
    (path / "genes.tsv").write_text("".join(f"id\t{gene}\n" for gene in GENES))
    (path / "barcodes.tsv").write_text("".join(f"{cell}\n" for cell in CELLS))
    return path


def write_tenx_v3(folder: Path) -> Path:
    path = folder / "filtered_feature_bc_matrix.h5"
    stored = sparse.csr_matrix(np.hstack([COUNTS, np.full((4, 1), 9)]).astype(np.int32))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        _store(group, stored)
        group["features/name"] = [*GENES, "BLANK"]
        group["features/feature_type"] = ["Gene Expression"] * 3 + ["Negative Control Probe"]
    return path


def write_tenx_v2(folder: Path) -> Path:
    path = folder / "old.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("mm10")
        _store(group, sparse.csr_matrix(COUNTS.astype(np.int32)))
        group["gene_names"] = GENES
    return path


def _store(group: h5py.Group, matrix: sparse.csr_matrix) -> None:
    group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr
    group["shape"] = matrix.shape[::-1]
    group["barcodes"] = CELLS


WRITERS = [write_h5ad, write_csv, write_tsv_gz_transposed, write_r_table, write_mtx_v3,
           write_mtx_v2, write_tenx_v3, write_tenx_v2]  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_every_format_gives_the_same(writer, tmp_path: Path, coordinates: Path) -> None:
    path = writer(tmp_path)
    adata = read(path, "spatial", coordinates)
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == GENES
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS)
    np.testing.assert_array_equal(adata.obsm["spatial"], PLACES)
    assert adata.X.dtype == np.float32
    assert slots.facts(adata)["counts"]
    described = describe(path, "spatial", coordinates)
    assert described.genes == GENES
    assert (described.n_obs, described.n_vars) == (4, 3)
    assert described.has_coordinates
    assert described.unreadable is None


@pytest.mark.parametrize("encoding", ["csr", "csc", "dense"])
def test_facts_of_every_encoding(encoding: str, tmp_path: Path) -> None:
    values = COUNTS.copy()
    values[1, 1] = -0.5
    matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}[encoding]
    described = describe(spatial_h5ad(tmp_path / "a.h5ad", X=matrix(values)), "spatial")
    assert described.negative and described.finite and not described.counts


def test_not_finite_and_empty(tmp_path: Path) -> None:
    values = COUNTS.copy()
    values[0, 0] = np.nan
    assert not describe(spatial_h5ad(tmp_path / "a.h5ad", X=values), "spatial").finite
    zeros = spatial_h5ad(tmp_path / "z.h5ad", X=np.zeros((4, 3)))
    assert describe(zeros, "spatial").empty


@pytest.mark.parametrize("place", ["layers", "raw"])
def test_counts_are_found_behind_a_normalised_matrix(place: str, tmp_path: Path) -> None:
    adata = anndata.AnnData(
        COUNTS.copy(), pd.DataFrame(index=CELLS), pd.DataFrame(index=GENES),
        obsm={"spatial": PLACES},
    )  # fmt: skip
    if place == "raw":
        adata.raw = adata
        adata = adata[:, :2].copy()
    else:
        adata.layers["counts"] = sparse.csr_matrix(COUNTS)
    adata.X = np.log1p(adata.X) + 0.1
    adata.write_h5ad(tmp_path / "a.h5ad")
    found = read(tmp_path / "a.h5ad", "spatial")
    np.testing.assert_array_equal(found.X.toarray(), COUNTS)
    assert list(found.var_names) == GENES
    assert slots.facts(found)["matrix"] == {"layers": "layers['counts']", "raw": "raw.X"}[place]


def test_symbols_replace_ids_and_repeats_are_merged() -> None:
    ids = [f"ENSG{number:011d}" for number in range(3)]
    var = pd.DataFrame({"feature_name": ["A", None, "A"]}, index=ids)
    found = symbols(var)
    assert list(found) == ["A", ids[1], "A"]
    merged, unique = merge_repeated(sparse.csr_matrix(COUNTS), found, counts=True)
    assert list(unique) == ["A", ids[1]]
    np.testing.assert_array_equal(merged.toarray(), [[4, 0], [0, 5], [7, 0], [1, 2]])
    averaged, _ = merge_repeated(sparse.csr_matrix(COUNTS), found, counts=False)
    np.testing.assert_array_equal(averaged.toarray()[:, 0], [2, 0, 3.5, 0.5])


@pytest.mark.parametrize("header", [True, False])
def test_visium_positions_keep_spots_in_tissue(header: bool, tmp_path: Path) -> None:
    names = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"
    lines = [f"{cell},{int(i != 1)},0,0,{100 + i},{200 + i}" for i, cell in enumerate(CELLS)]
    path = tmp_path / "tissue_positions.csv"
    path.write_text("\n".join([names, *lines] if header else lines) + "\n")
    adata = read(write_csv(tmp_path), "spatial", path)
    assert list(adata.obs_names) == [CELLS[0], CELLS[2], CELLS[3]]
    np.testing.assert_array_equal(adata.obsm["spatial"][0], [200, 100])


def test_folder_finds_its_own_coordinates(tmp_path: Path, coordinates: Path) -> None:
    folder = write_mtx_v3(tmp_path)
    coordinates.rename(folder / "coordinates.csv")
    np.testing.assert_array_equal(read(folder, "spatial").obsm["spatial"], PLACES)


def test_unmatched_observations_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("id,x,y\nAAA-1,1,1\nCCC-1,1,1\nXXX,1,1\n")
    described = describe(write_csv(tmp_path), "spatial", path)
    assert not described.has_coordinates
    assert described.coordinates_problem.startswith("2 of 4 observations are not in 'c.csv'")
    with pytest.raises(DataError, match="'GGG-1', 'TTT-1'"):
        read(write_csv(tmp_path), "spatial", path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,a,b\nAAA-1,1,1\n", "has no columns x and y (it has: id, a, b)"),
        ("id,x,y\nAAA-1,1,1\nAAA-1,1,1\n", "lists 1 observations more than once"),
        ("id,x,y\nAAA-1,1,\nCCC-1,1,1\nGGG-1,1,1\nTTT-1,1,1\n", "1 of 4 coordinates are missing"),
        ("x,y\n1,1\n", "has no column of observation names"),
    ],
)
def test_broken_coordinates(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text)
    assert says in describe(write_csv(tmp_path), "spatial", path).coordinates_problem


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.h5ad", b"nonsense", "cut short, damaged"),
        ("a.h5", b"", "cut short, damaged"),
        ("a.csv.gz", gzip.compress(b"id,A\nx,1\n" * 2000, mtime=0)[:40], "cut short"),
        ("a.csv.gz", b"not gzip at all", "damaged"),
        ("a.csv", b"\xff\xfe\x00", "not text in UTF-8"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"id,A,B\nx,1,2\ny,1\n\x00,", None),
    ],
)
def test_broken_files_are_described(
    name: str, content: bytes, says: str | None, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    described = describe(path, "reference")
    if says is not None:
        assert says in described.unreadable


def test_truncated_h5ad_is_unreadable(tmp_path: Path) -> None:
    path = write_h5ad(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cut short" in describe(path, "reference").unreadable
    with pytest.raises(DataError, match="cut short"):
        read(path, "reference")


def test_unknown_format(tmp_path: Path) -> None:
    (tmp_path / "a.rds").write_text("x")
    described = describe(tmp_path / "a.rds", "reference")
    assert described.format is None
    assert "AnnData (.h5ad)" in described.unknown_format


def test_text_columns_of_a_table_are_annotations(tmp_path: Path) -> None:
    path = tmp_path / "reference.csv"
    table = pd.DataFrame(COUNTS, CELLS, GENES).assign(cell_type=["a", "b", "a", "b"])
    table.to_csv(path)
    assert describe(path, "reference").columns == {"cell_type": 2}
    assert list(read(path, "reference").var_names) == GENES


def test_keys_are_kept_whatever_their_names(tmp_path: Path) -> None:
    path = spatial_h5ad(tmp_path / "a.h5ad")
    adata = anndata.read_h5ad(path)
    adata.obs["_donor"], adata.obs["_other"] = 0, 1
    adata.write_h5ad(path)
    found = read(path, "spatial", keys=["_donor"])
    assert "_donor" in found.obs and "_other" not in found.obs


def run(command, *arguments: object) -> None:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def test_scripts_from_sheet_to_ingested_file(tmp_path: Path) -> None:
    spatial_h5ad(tmp_path / "a.h5ad", X=np.tile(COUNTS, 2), var=pd.DataFrame(index=list("ABCDEF")))
    reference = spatial_h5ad(tmp_path / "r.h5ad", X=np.tile(COUNTS, 2),
                             var=pd.DataFrame(index=list("ABCDEF")))  # fmt: skip
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(
        f"sample,spatial,reference,spatial_label_key\ns1,{tmp_path / 'a.h5ad'},{reference},region\n"
    )
    rows = tmp_path / "rows.json"
    schema = ROOT / "assets" / "schema_input.json"
    run(parse_sheet, "--sheet", sheet, "--schema", schema, "--output", rows)
    described = []
    for kind, path in (("spatial", tmp_path / "a.h5ad"), ("reference", reference)):
        described.append(tmp_path / f"{kind}_2.json")
        run(describe_input, "--id", f"{kind}_2", "--kind", kind, "--input", path,
            "--output", described[-1], "--checksums", tmp_path / "sums.json")  # fmt: skip
    sources = tmp_path / "sources.json"
    used = [
        {"id": f"{kind}_2", "kind": kind, "lines": [2], "exists": True}
        for kind in ("spatial", "reference")
    ]
    sources.write_text(json.dumps(used))
    run(
        check_input,
        "--rows",
        rows,
        "--sources",
        sources,
        "--output-dir",
        tmp_path / "checked",
        *described,
    )
    checked = json.loads((tmp_path / "checked" / "input.json").read_text())
    assert checked["valid"], (tmp_path / "checked" / "problems.txt").read_text()
    output, failure = tmp_path / "s1.ingested.h5ad", tmp_path / "f.json"
    run(ingest_input, "--kind", "spatial", "--input", tmp_path / "a.h5ad", "--request",
        tmp_path / "checked" / "requests" / "s1.json", "--output", output,
        "--failure", failure)  # fmt: skip
    adata = slots.read(output, slots.INGESTED_SPATIAL)
    assert slots.facts(adata)["source"] == "s1"
    assert list(slots.label_column(adata, "label_key")) == ["a", "b", "", "a"]
    assert list(labels_of(adata)) == ["a", "b", "", "a"]
    assert not failure.exists()


@pytest.mark.parametrize(("name", "counts"), [("mob", True), ("hypothalamus_poa", False)])
def test_real_data(name: str, counts: bool, real_data) -> None:
    described = describe(real_data(name) / "spatial.h5ad", "spatial")
    assert described.counts == counts
    assert described.has_coordinates
    assert not described.empty


def test_leading_zeros_of_names_are_kept_wherever_their_column_is(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("fov,x,y,cell_id\n1,1,2,0001\n1,2.5,3,0010\n")
    found = read_coordinates(tmp_path / "c.csv").positions
    assert found.index.tolist() == ["0001", "0010"]
    np.testing.assert_array_equal(found.to_numpy(), [[1, 2], [2.5, 3]])


@pytest.mark.parametrize("corner", ["gene,", ""])
def test_names_that_read_like_missing_values_are_names(corner: str, tmp_path: Path) -> None:
    names = ["Abc", "NA", "nan", "null"]
    rows = [f"{gene},{number},0,{number + 1}" for number, gene in enumerate(names)]
    (tmp_path / "t.csv").write_text("\n".join([f"{corner}NA,s2,s3", *rows]) + "\n")
    positions = "spot,x,y\nNA,0,1\ns2,1,2\ns3,2,3\n"
    (tmp_path / "t_coordinates.csv").write_text(positions)
    place = tmp_path / "t_coordinates.csv"
    described = describe(tmp_path / "t.csv", "spatial", place)
    assert described.genes == names
    adata = read(tmp_path / "t.csv", "spatial", place)
    assert adata.var_names.tolist() == names
    assert adata.obs_names.tolist() == ["NA", "s2", "s3"]
    slots.write(adata, tmp_path / "a.h5ad", slots.INGESTED_SPATIAL)


def scaled_h5ad(path: Path, logged: np.ndarray) -> Path:
    """Write what scanpy's tutorial leaves: scaled values of some genes, logarithms of all in raw."""
    whole = anndata.AnnData(
        sparse.csr_matrix(logged.astype(np.float32)),
        pd.DataFrame(index=CELLS),
        pd.DataFrame(index=GENES),
    )
    adata = whole[:, :2].copy()
    adata.raw = whole
    adata.X = (adata.X.toarray() - adata.X.toarray().mean(0)) / adata.X.toarray().std(0)
    adata.write_h5ad(path)
    return path


def test_logarithms_are_found_behind_scaled_values(tmp_path: Path) -> None:
    path = scaled_h5ad(tmp_path / "a.h5ad", np.log1p(COUNTS))
    found = read(path, "reference")
    np.testing.assert_allclose(found.X.toarray(), np.log1p(COUNTS))
    assert list(found.var_names) == GENES
    assert slots.facts(found)["matrix"] == "raw.X" and not slots.facts(found)["counts"]
    described = describe(path, "reference")
    assert (described.matrix, described.negative) == ("raw.X", False)
    only_scaled = describe(scaled_h5ad(tmp_path / "b.h5ad", COUNTS - 0.5), "reference")
    assert (only_scaled.matrix, only_scaled.negative) == ("X", True)


@pytest.mark.parametrize("name", ["Act\nb", "Actb\r", "Act\u2028b"])
def test_a_gene_with_a_line_break_is_refused(name: str, tmp_path: Path) -> None:
    path = spatial_h5ad(tmp_path / "a.h5ad", var=pd.DataFrame(index=[name, *GENES[1:]]))
    with pytest.raises(
        DataError, match=r"1 gene names of 'a.h5ad' hold a line break \(such as 'Act"
    ):
        read(path, "spatial")


def test_observations_of_one_name_are_not_looked_up(tmp_path: Path) -> None:
    path = spatial_h5ad(tmp_path / "a.h5ad")
    adata = anndata.read_h5ad(path)
    adata.obs_names = ["c0", "c0", "c1", "c2"]
    adata.write_h5ad(path)
    # Coordinates of the file itself go by place.
    np.testing.assert_array_equal(read(path, "spatial").obsm["spatial"], PLACES)
    table = tmp_path / "co.csv"
    table.write_text("id,x,y\nc0,1,1\nc1,2,2\nc2,3,3\n")
    says = "1 names belong to several observations of the spatial file (such as 'c0')"
    assert says in describe(path, "spatial", table).coordinates_problem
    with pytest.raises(DataError, match=r"so 'co.csv' cannot tell these apart"):
        read(path, "spatial", table)


@pytest.mark.parametrize(
    ("columns", "third"),
    [
        ("x,y,z", True),
        ("center_x,center_y,center_z", True),
        ("x_centroid,y_centroid,z_centroid", True),
        ("x,y,center_z", False),
    ],
)
def test_z_of_a_table_is_the_third_coordinate(columns: str, third: bool, tmp_path: Path) -> None:
    table = tmp_path / "co.csv"
    rows = [f"{cell},{i},{i + 1},{i / 2}" for i, cell in enumerate(CELLS)]
    table.write_text("\n".join([f"id,{columns}", *rows]) + "\n")
    found = read(write_csv(tmp_path), "spatial", table).obsm["spatial"]
    expected = [[i, i + 1, i / 2] for i in range(4)]
    np.testing.assert_array_equal(found, np.array(expected)[:, : 3 if third else 2])


def test_an_empty_z_is_none_and_a_gap_in_it_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "co.csv"
    table.write_text("id,x,y,z\n" + "".join(f"{cell},1,{i},\n" for i, cell in enumerate(CELLS)))
    path = write_csv(tmp_path)
    assert read(path, "spatial", table).obsm["spatial"].shape == (4, 2)
    table.write_text(table.read_text().replace("AAA-1,1,0,", "AAA-1,1,0,5"))
    assert "3 of 4 coordinates" in describe(path, "spatial", table).coordinates_problem
