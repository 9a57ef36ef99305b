process COLLATE {
    input:
    path input_json
    path files, stageAs: 'collected/?/*'
    val settings
    val code

    output:
    path 'multiqc_input', emit: multiqc
    path 'multiqc_input/headline.json', emit: headline
    path 'multiqc_input/scores.csv', optional: true, emit: scores

    script:
    """
    cat > settings.json <<'JSON'
    ${settings}
    JSON
    collate.py --input-json ${input_json} --settings settings.json --output-dir multiqc_input ${files}
    """

    stub:
    """
    mkdir multiqc_input
    echo '[]' > multiqc_input/headline.json
    touch multiqc_input/scores.csv
    """
}
