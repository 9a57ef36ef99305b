include { armTag ; resultFolder ; settingsKey } from '../../functions/arms'

process SPLIT_GENES {
    tag "${meta.id}${armTag(meta)}"
    publishDir path: { resultFolder('samples', meta) }, mode: workflow.session.params.publish_mode, pattern: '*.folds'

    input:
    tuple val(meta), path(spatial), path(reference), path(hvg)
    val n_folds
    val genes
    path gene_list
    val evaluation_genes
    val seed
    val code

    output:
    tuple val(meta), path("${meta.id}.folds/*.json", arity: '1..*'), optional: true, emit: folds
    path "${meta.id}.folds", optional: true, emit: folder
    path '*.failure.json', optional: true, topic: records

    script:
    """
    split_genes.py --spatial ${spatial} --reference ${reference} --hvg ${hvg} \\
        --n-folds ${n_folds} --genes ${gene_list ?: genes} --evaluation-genes ${evaluation_genes} \\
        --n-alignment-genes ${meta.settings.n_alignment_genes} --settings ${settingsKey(meta.settings)} --seed ${seed} \\
        --output-dir ${meta.id}.folds --failure ${meta.id}.failure.json
    """

    stub:
    """
    mkdir ${meta.id}.folds
    touch ${meta.id}.folds/fold_all.json ${meta.id}.folds/fold_1.json ${meta.id}.folds/fold_2.json
    """
}
