include { armTag ; resultFolder } from '../../functions/arms'

process CALIBRATE {
    tag "${meta.id}${armTag(meta)}"
    publishDir path: { resultFolder('samples', meta) }, mode: workflow.session.params.publish_mode, pattern: '*.imputed.h5ad'
    publishDir path: { resultFolder('evaluation', meta) }, mode: workflow.session.params.publish_mode, pattern: '*.{calibration.json,reliability.csv}'

    input:
    tuple val(meta), path(imputed, stageAs: 'imputed/*'), path(held_out, stageAs: 'held_out/?/*', arity: '0..*'), path(spatial), path(folds, arity: '0..*')
    val interval_level
    val code

    output:
    tuple val(meta), path("${meta.id}.imputed.h5ad"), optional: true, emit: h5ad
    path "${meta.id}.calibration.json", optional: true, topic: records
    path "${meta.id}.reliability.csv", optional: true, emit: table
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process}"), val('scikit-learn'), eval('version_of.py scikit-learn'), topic: versions

    script:
    // An attempt that only copies the imputed file survives what killed the others.
    def given_up = task.attempt > 1 && task.attempt > task.maxRetries
    def status = task.previousTrace?.exit in 0..255 ? task.previousTrace.exit : 'none'
    def keep = given_up ? "--keep-only 'gave up after ${task.attempt - 1} attempts (exit status of the last: ${status})'" : ''
    """
    calibrate.py --sample ${meta.id} --arm ${meta.arm} --imputed ${imputed} --spatial ${spatial} \\
        ${folds.collect { fold -> "--fold ${fold}" }.join(' ')} \\
        ${held_out.collect { h5ad -> "--held-out ${h5ad}" }.join(' ')} \\
        --interval-level ${interval_level} ${keep} --output ${meta.id}.imputed.h5ad --table ${meta.id}.reliability.csv \\
        --summary ${meta.id}.calibration.json --failure ${meta.id}.failure.json
    """

    stub:
    """
    touch ${meta.id}.imputed.h5ad ${meta.id}.calibration.json ${meta.id}.reliability.csv
    """
}
