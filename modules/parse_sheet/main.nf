process PARSE_SHEET {
    input:
    path sheet
    path schema
    val code

    output:
    path 'rows.json'

    script:
    """
    parse_sheet.py --sheet ${sheet} --schema ${schema} --output rows.json
    """

    stub:
    """
    cat > rows.json <<'JSON'
    {"sheet": "stub", "problems": [], "rows": [
      {"line": 2, "sample": "sample_a", "spatial": "sample_a.h5ad", "reference": "reference.h5ad"},
      {"line": 3, "sample": "sample_b", "spatial": "sample_b.h5ad", "reference": "reference.h5ad"}]}
    JSON
    """
}
