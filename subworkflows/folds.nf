include { distinctSettings } from '../functions/arms'
include { match ; withSettings } from '../functions/channels'
include { SPLIT_GENES } from '../modules/split_genes/main'

// Chooses which genes of a sample each fold hides, and which it aligns on.
workflow FOLDS {
    take:
    options
    samples
    genes
    gene_list
    arms
    code

    main:
    // [[id, reference, settings], sample, reference, hvg]
    with_settings = genes.map { meta, h5ad, hvg -> [meta, meta.settings, h5ad, hvg] }
    with_genes = match({ meta -> meta.reference }, { meta -> meta.id }, samples, with_settings).map { meta, h5ad, settings, reference, hvg -> [meta.subMap('id', 'reference') + [settings: settings], h5ad, reference, hvg] }
    inputs = withSettings(with_genes, distinctSettings('folds', arms))
    SPLIT_GENES(inputs, options.n_folds, options.impute_genes, gene_list, options.evaluation_genes, options.seed, code.split_genes)
    split = inputs.map { meta, h5ad, reference, _hvg -> [meta, h5ad, reference] }.join(SPLIT_GENES.out.folds)

    folds = split.transpose(by: 3).map { meta, h5ad, reference, fold -> [meta + [fold: fold.baseName - 'fold_'], h5ad, reference, fold] }
    hidden = split.map { meta, h5ad, _reference, files -> [meta, h5ad, files.findAll { fold -> fold.name != 'fold_all.json' }.sort { fold -> fold.name }] }

    emit:
    folds // [[id, reference, settings, fold], sample, reference, fold.json]
    hidden // [[id, reference, settings], sample, [fold.json, ..]]: the folds that hide genes
}
