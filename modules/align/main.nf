process ALIGN {
    tag "${meta.id} ${meta.fold} seed ${meta.seed}"
    label 'process_gpu'

    input:
    tuple val(meta), path(spatial), path(vae), path(fold)
    val device
    val code

    output:
    tuple val(meta), path("${meta.fold}/${meta.id}.aligned.h5ad"), optional: true, emit: h5ad
    path "${meta.fold}/${meta.id}.alignment_history.json", optional: true, emit: history
    path '*.failure.json', optional: true, emit: failure
    tuple val("${task.process}"), val('torch'), eval('version_of.py torch'), topic: versions
    tuple val("${task.process}"), val("${task.accelerator ? task.accelerator.request : 0}"), topic: accelerators

    script:
    def settings = meta.arm.alignment
    """
    mkdir ${meta.fold}
    align.py --spatial ${spatial} --vae ${vae} --fold ${fold} --arm ${meta.arm.name} \\
        --alignment ${settings.method} --n-neighbors ${settings.n_neighbors} \\
        --pretrain-epochs ${settings.pretrain_epochs} --discriminator-epochs ${settings.discriminator_epochs} \\
        --epochs ${settings.epochs} --inner-folds ${settings.inner_folds} --seed ${meta.seed} \\
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
