include { armTag ; resultFolder } from '../../functions/arms'

process SCORE {
    tag "${meta.id}${armTag(meta)}"
    publishDir path: { resultFolder('evaluation', meta) }, mode: workflow.session.params.publish_mode, pattern: '*.{scores.csv,maps.json}'

    input:
    tuple val(meta), path(spatial), path(folds, arity: '1..*'), path(imputed, stageAs: 'imputed/?/*', arity: '1..*')
    val code

    output:
    path "${meta.id}.scores.csv", optional: true, topic: records
    path "${meta.id}.maps.json", optional: true, topic: records
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process}"), val('scipy'), eval('version_of.py scipy'), topic: versions

    script:
    """
    score.py --spatial ${spatial} --arm ${meta.arm} --n-neighbors ${meta.settings.n_neighbors} \\
        ${folds.collect { fold -> "--fold ${fold}" }.join(' ')} \\
        ${imputed.collect { h5ad -> "--imputed ${h5ad}" }.join(' ')} \\
        --output ${meta.id}.scores.csv --maps ${meta.id}.maps.json --failure ${meta.id}.failure.json
    """

    stub:
    """
    touch ${meta.id}.scores.csv ${meta.id}.maps.json
    """
}
