include { armTag ; resultFolder ; settingsKey } from '../../functions/arms'

process IMPUTE {
    tag "${meta.id} fold ${meta.fold} seed ${meta.seed}${armTag(meta)}"
    publishDir path: { resultFolder('samples', meta) }, mode: workflow.session.params.publish_mode, pattern: 'all/*.imputation.json', saveAs: { name -> name - 'all/' }

    input:
    tuple val(meta), path(spatial), path(reference), path(fold), path(vae), path(aligned)
    val genes
    path gene_list
    val code

    output:
    tuple val(meta), path("${meta.fold}/${meta.id}.imputed.h5ad"), optional: true, emit: h5ad
    path "${meta.fold}/${meta.id}.imputation.json", optional: true, topic: records
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process}"), val('torch'), eval('version_of.py torch'), topic: versions

    script:
    """
    mkdir ${meta.fold}
    impute.py --aligned ${aligned} --spatial ${spatial} --reference ${reference} --vae ${vae} \
        --fold ${fold} --settings ${settingsKey(meta.settings)} \\
        --genes ${gene_list ?: genes} --imputer ${meta.settings.imputer} --seed ${meta.seed} --threads ${task.cpus} \\
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
