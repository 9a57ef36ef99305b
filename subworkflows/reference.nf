include { distinctSettings } from '../functions/arms'
include { match ; withSettings } from '../functions/channels'
include { SELECT_GENES } from '../modules/select_genes/main'
include { TRAIN_VAE } from '../modules/train_vae/main'

// What is learned from a reference alone, once for all arms and samples that ask the same of it.
workflow REFERENCE {
    take:
    options
    references
    arms
    code

    main:
    // [[id, settings], h5ad]
    asked = references.combine(channel.fromList(distinctSettings('genes', arms))).map { meta, h5ad, settings -> [[id: meta.id, settings: settings], h5ad] }
    SELECT_GENES(asked, code.select_genes)
    genes = asked.join(SELECT_GENES.out.hvg)
    TRAIN_VAE(withSettings(genes, distinctSettings('vae', arms)), options.seed, options.use_gpu ? 'auto' : 'cpu', code.train_vae)
    vae = TRAIN_VAE.out.vae

    emit:
    genes // [[id, settings], h5ad, hvg]
    vae // [[id, settings], folder]
}
