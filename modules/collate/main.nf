process COLLATE {
    publishDir path: { "${workflow.session.params.outdir}/evaluation" }, mode: workflow.session.params.publish_mode, pattern: '{headline.json,scores.csv,maps}'

    input:
    path input_json
    path files, stageAs: 'collected/?/*'
    path tasks, stageAs: 'tasks.tsv'
    val settings
    val code

    output:
    path 'multiqc_input', emit: multiqc
    path 'headline.json', emit: headline
    path 'scores.csv', emit: scores
    path 'maps', optional: true, emit: maps
    path 'provenance.json', emit: provenance
    // MULTIQC reads the topic of versions and so cannot write to it.
    tuple val("${task.process}"), val('python'), eval('version_of.py python'), topic: versions
    tuple val("${task.process}"), val('multiqc'), eval('version_of.py multiqc'), topic: versions

    script:
    """
    cat > settings.json <<'JSON'
    ${settings}
    JSON
    collate.py --input-json ${input_json} --settings settings.json --tasks ${tasks} \\
        --executor ${task.executor ?: 'local'} --page-dir multiqc_input --output-dir . ${files}
    """

    stub:
    """
    mkdir multiqc_input
    echo '{"finished": 1, "headline": [], "failed": []}' > headline.json
    touch scores.csv
    echo '{"inputs": [], "images": [], "samples": [], "references": [], "failed": [], "resources": {}}' > provenance.json
    """
}
