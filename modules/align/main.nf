include { armTag ; resultFolder ; settingsKey } from '../../functions/arms'

process ALIGN {
    tag "${meta.id} fold ${meta.fold} seed ${meta.seed}${armTag(meta)}"
    label 'process_gpu'
    publishDir path: { resultFolder('samples', meta) }, mode: workflow.session.params.publish_mode, pattern: 'all/*', saveAs: { name -> name - 'all/' }

    input:
    tuple val(meta), path(spatial), path(reference), path(fold), path(vae)
    val device
    val code

    output:
    tuple val(meta), path("${meta.fold}/${meta.id}.aligned.h5ad"), optional: true, emit: h5ad
    path "${meta.fold}/${meta.id}.alignment_history.json", optional: true, topic: records
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process}"), val('torch'), eval('version_of.py torch'), topic: versions
    tuple val("${task.process}"), val("${task.accelerator ? task.accelerator.request : 0}"), topic: accelerators

    script:
    def settings = meta.settings
    """
    mkdir ${meta.fold}
    align.py --spatial ${spatial} --reference ${reference} --vae ${vae} --fold ${fold} \
        --settings ${settingsKey(settings)} \\
        --method ${settings.alignment} --n-neighbors ${settings.n_neighbors} \\
        --pretrain-epochs ${settings.alignment_pretrain_epochs} \
        --discriminator-epochs ${settings.alignment_discriminator_epochs} --epochs ${settings.alignment_epochs} \\
        --inner-folds ${settings.inner_folds} --seed ${meta.seed} \\
        --device ${task.accelerator ? 'gpu' : device} --threads ${task.cpus} \\
        --output ${meta.fold}/${meta.id}.aligned.h5ad \\
        --history ${meta.fold}/${meta.id}.alignment_history.json --failure ${meta.id}.failure.json
    """

    stub:
    """
    mkdir ${meta.fold}
    touch ${meta.fold}/${meta.id}.aligned.h5ad
    touch ${meta.fold}/${meta.id}.alignment_history.json
    """
}
