include { armTag ; resultFolder ; settingsKey } from '../../functions/arms'

process TRAIN_VAE {
    tag "${meta.id}${armTag(meta)}"
    label 'process_gpu'
    publishDir path: { resultFolder('references', meta) }, mode: workflow.session.params.publish_mode, pattern: '*.vae'

    input:
    tuple val(meta), path(reference), path(hvg)
    val seed
    val device
    val code

    output:
    tuple val(meta), path("${meta.id}.vae"), optional: true, emit: vae
    path "${meta.id}.vae_history.json", optional: true, topic: records
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process} ${meta.settings.vae}"), eval("package_of.py ${meta.settings.vae}"), eval("version_of.py \$(package_of.py ${meta.settings.vae})"), topic: versions
    tuple val("${task.process}"), val("${task.accelerator ? task.accelerator.request : 0}"), topic: accelerators

    script:
    def settings = meta.settings
    """
    train_vae.py --reference ${reference} --hvg ${hvg} --vae ${settings.vae} --n-latent ${settings.n_latent} \\
        --max-epochs ${settings.vae_max_epochs} --kl-warmup-epochs ${settings.vae_kl_warmup_epochs} \\
        --batch-size ${settings.vae_batch_size} --settings ${settingsKey(settings)} --seed ${seed} \\
        --device ${task.accelerator ? 'gpu' : device} --threads ${task.cpus} \\
        --output ${meta.id}.vae --history ${meta.id}.vae_history.json --failure ${meta.id}.failure.json
    """

    stub:
    """
    mkdir ${meta.id}.vae
    touch ${meta.id}.vae/latent.h5ad ${meta.id}.vae/vae.pt ${meta.id}.vae/vae.json
    touch ${meta.id}.vae/history.json ${meta.id}.vae_history.json
    """
}
