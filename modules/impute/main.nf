process IMPUTE {
    tag "${meta.id} ${meta.fold} seed ${meta.seed}"

    input:
    tuple val(meta), path(aligned), path(spatial), path(vae), path(fold)
    val genes
    path gene_list
    val code

    output:
    tuple val(meta), path("${meta.fold}/${meta.id}.imputed.h5ad"), optional: true, emit: h5ad
    path "${meta.fold}/${meta.id}.imputation.json", optional: true, emit: summary
    path '*.failure.json', optional: true, emit: failure
    tuple val("${task.process}"), val('torch'), eval('version_of.py torch'), topic: versions

    script:
    """
    mkdir ${meta.fold}
    impute.py --aligned ${aligned} --spatial ${spatial} --vae ${vae} --fold ${fold} \\
        --genes ${gene_list ?: genes} --imputer ${meta.arm.imputer} --seed ${meta.seed} --threads ${task.cpus} \\
        --output ${meta.fold}/${meta.id}.imputed.h5ad --summary ${meta.fold}/${meta.id}.imputation.json \\
        --failure ${meta.id}.failure.json
    """

    stub:
    """
    mkdir ${meta.fold}
    touch ${meta.fold}/${meta.id}.imputed.h5ad
    touch ${meta.fold}/${meta.id}.imputation.json
    """
}
