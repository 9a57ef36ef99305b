process SELECT_GENES {
    tag "${meta.id}"

    input:
    tuple val(meta), path(reference)
    val code

    output:
    tuple val(meta), path("${meta.id}.hvg.txt"), optional: true, emit: hvg
    path '*.failure.json', optional: true, emit: failure
    tuple val("${task.process}"), val('scanpy'), eval('version_of.py scanpy'), topic: versions

    script:
    """
    select_genes.py --reference ${reference} --n-top ${meta.genes.n_hvg} \\
        --output ${meta.id}.hvg.txt --failure ${meta.id}.failure.json
    """

    stub:
    """
    touch ${meta.id}.hvg.txt
    """
}
