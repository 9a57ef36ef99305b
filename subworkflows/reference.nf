include { distinctSettings } from '../functions/arms'
include { match ; withSettings } from '../functions/channels'
include { SELECT_GENES } from '../modules/select_genes/main'
include { TRAIN_VAE } from '../modules/train_vae/main'

// Selects genes and trains the model of each reference, once for all samples and arms with equal settings.
workflow REFERENCE {
    take:
    options
    references
    arms
    code

    main:
    // [[id, settings], h5ad]
    inputs = references.combine(channel.fromList(distinctSettings('genes', arms))).map { meta, h5ad, settings -> [[id: meta.id, settings: settings], h5ad] }
    SELECT_GENES(inputs, code.select_genes)
    genes = inputs.join(SELECT_GENES.out.hvg)
    TRAIN_VAE(withSettings(genes, distinctSettings('vae', arms)), options.seed, options.use_gpu ? 'auto' : 'cpu', code.train_vae)
    vae = TRAIN_VAE.out.vae

    emit:
    genes // [[id, settings], h5ad, hvg]
    vae // [[id, settings], folder]
}
