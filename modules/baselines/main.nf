process BASELINES {
    tag "${meta.id} ${meta.fold}"

    input:
    tuple val(meta), path(spatial), path(reference), path(fold)
    val methods
    val seed
    val code

    output:
    tuple val(meta), path("${meta.fold}/${meta.id}.baselines.h5ad"), optional: true, emit: h5ad
    path '*.failure.json', optional: true, emit: failure
    tuple val("${task.process}"), val('scikit-learn'), eval('version_of.py scikit-learn'), topic: versions

    script:
    """
    mkdir ${meta.fold}
    run_baselines.py --spatial ${spatial} --reference ${reference} --fold ${fold} \\
        --methods ${methods} --seed ${seed} \\
        --output ${meta.fold}/${meta.id}.baselines.h5ad --failure ${meta.id}.failure.json
    """

    stub:
    """
    mkdir ${meta.fold}
    touch ${meta.fold}/${meta.id}.baselines.h5ad
    """
}
