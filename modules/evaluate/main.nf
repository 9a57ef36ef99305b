process EVALUATE {
    tag "${meta.id}"

    input:
    tuple val(meta), path(aligned), path(spatial), path(vae), path(fold)
    val seed
    val code

    output:
    path "${meta.id}.evaluation.json", optional: true, emit: evaluation
    path '*.failure.json', optional: true, emit: failure
    tuple val("${task.process}"), val('scikit-learn'), eval('version_of.py scikit-learn'), topic: versions

    script:
    """
    evaluate.py --aligned ${aligned} --spatial ${spatial} --vae ${vae} --fold ${fold} --seed ${seed} \\
        --output ${meta.id}.evaluation.json --failure ${meta.id}.failure.json
    """

    stub:
    """
    touch ${meta.id}.evaluation.json
    """
}
