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
    parse_sheet.py --sheet ${sheet} --schema ${schema} --output rows.json
    """
}
