process CHECK_INPUT {
    input:
    path rows
    path descriptions
    val missing
    val code

    output:
    tuple path('checked/input.json'), path('checked/problems.txt'), path('checked/requests')

    script:
    def absent = missing ? "--missing ${missing.join(',')}" : ''
    """
    check_input.py --rows ${rows} ${absent} --output-dir checked ${descriptions}
    """

    stub:
    """
    mkdir -p checked/requests
    touch checked/problems.txt
    for id in sample_a sample_b reference; do echo "{}" > checked/requests/\$id.json; done
    cat > checked/input.json <<'JSON'
    {"valid": true, "failures": [], "problems": [], "samples": [
      {"sample": "sample_a", "spatial_source": "spatial_2", "reference_source": "reference_2", "reference": "reference"},
      {"sample": "sample_b", "spatial_source": "spatial_3", "reference_source": "reference_2", "reference": "reference"}]}
    JSON
    """
}
