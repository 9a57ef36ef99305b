process PEER {
    tag "${meta.id} ${meta.method} ${meta.fold}"

    input:
    tuple val(meta), path(spatial), path(reference), path(fold)
    val seed
    val code

    output:
    tuple val(meta), path("${meta.fold}/${meta.id}.${meta.method}.h5ad"), optional: true, emit: h5ad
    path '*.failure.json', optional: true, emit: failure
    tuple val("${task.process} ${meta.method}"), val("${meta.distribution}"), eval("version_of.py ${meta.distribution}"), topic: versions

    script:
    """
    mkdir ${meta.fold}
    run_peer.py --spatial ${spatial} --reference ${reference} --fold ${fold} \\
        --method ${meta.method} --seed ${seed} \\
        --output ${meta.fold}/${meta.id}.${meta.method}.h5ad --failure ${meta.id}.failure.json
    """

    stub:
    """
    mkdir ${meta.fold}
    touch ${meta.fold}/${meta.id}.${meta.method}.h5ad
    """
}
