process TRAIN_VAE {
    tag "${meta.id}"
    label 'process_gpu'

    input:
    tuple val(meta), path(reference), path(hvg)
    val seed
    val device
    val code

    output:
    tuple val(meta), path("${meta.id}.vae"), optional: true, emit: vae
    path "${meta.id}.vae_history.json", optional: true, emit: history
    path '*.failure.json', optional: true, emit: failure
    tuple val("${task.process}"), val('scvi-tools'), eval('version_of.py scvi-tools'), topic: versions
    tuple val("${task.process}"), val("${task.accelerator ? task.accelerator.request : 0}"), topic: accelerators

    script:
    """
    train_vae.py --reference ${reference} --hvg ${hvg} --n-latent ${meta.vae.n_latent} \\
        --max-epochs ${meta.vae.max_epochs} --kl-warmup-epochs ${meta.vae.kl_warmup_epochs} \\
        --batch-size ${meta.vae.batch_size} --seed ${seed} \\
        --device ${task.accelerator ? 'gpu' : device} --threads ${task.cpus} \\
        --output ${meta.id}.vae --failure ${meta.id}.failure.json
    [ ! -d ${meta.id}.vae ] || cp ${meta.id}.vae/history.json ${meta.id}.vae_history.json
    """

    stub:
    """
    mkdir ${meta.id}.vae
    touch ${meta.id}.vae/reference.h5ad ${meta.id}.vae/vae.pt ${meta.id}.vae/vae.json
    touch ${meta.id}.vae/history.json ${meta.id}.vae_history.json
    """
}
