include { armTag ; resultFolder ; settingsKey } from '../../functions/arms'

process EVALUATE {
    tag "${meta.id}${armTag(meta)}"
    publishDir path: { resultFolder('evaluation', meta) }, mode: workflow.session.params.publish_mode, pattern: '*.evaluation.json'

    input:
    tuple val(meta), path(spatial), path(reference), path(fold), path(vae), path(aligned)
    val seed
    val code

    output:
    path "${meta.id}.evaluation.json", optional: true, topic: records
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process}"), val('scikit-learn'), eval('version_of.py scikit-learn'), topic: versions

    script:
    """
    evaluate.py --aligned ${aligned} --spatial ${spatial} --reference ${reference} --vae ${vae} \
        --fold ${fold} --settings ${settingsKey(meta.settings)} --seed ${seed} \\
        --output ${meta.id}.evaluation.json --failure ${meta.id}.failure.json
    """

    stub:
    """
    touch ${meta.id}.evaluation.json
    """
}
