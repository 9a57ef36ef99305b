process CHECK_INPUT {
    input:
    path rows
    path descriptions
    val sources
    val code

    output:
    tuple path('checked/input.json'), path('checked/problems.txt'), path('checked/requests')

    script:
    """
    cat > sources.json <<'JSON'
    ${sources}
    JSON
    check_input.py --rows ${rows} --sources sources.json --output-dir checked ${descriptions}
    """

    stub:
    """
    cat > sources.json <<'JSON'
    ${sources}
    JSON
    check_input.py --rows ${rows} --sources sources.json --unread --output-dir checked ${descriptions}
    """
}
