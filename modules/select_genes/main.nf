include { armTag ; resultFolder ; settingsKey } from '../../functions/arms'

process SELECT_GENES {
    tag "${meta.id}${armTag(meta)}"
    publishDir path: { resultFolder('references', meta) }, mode: workflow.session.params.publish_mode, pattern: '*.hvg.txt'

    input:
    tuple val(meta), path(reference)
    val code

    output:
    tuple val(meta), path("${meta.id}.hvg.txt"), optional: true, emit: hvg
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process}"), val('scanpy'), eval('version_of.py scanpy'), topic: versions

    script:
    """
    select_genes.py --reference ${reference} --n-top ${meta.settings.n_hvg} --settings ${settingsKey(meta.settings)} \\
        --output ${meta.id}.hvg.txt --failure ${meta.id}.failure.json
    """

    stub:
    """
    touch ${meta.id}.hvg.txt
    """
}
