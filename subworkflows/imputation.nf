include { distinctSettings ; settingsOf } from '../functions/arms'
include { match ; withSettings } from '../functions/channels'
include { ALIGN } from '../modules/align/main'
include { EVALUATE } from '../modules/evaluate/main'
include { IMPUTE } from '../modules/impute/main'

// Aligns and imputes every fold under every seed, and the full fit under the first.
workflow IMPUTATION {
    take:
    options
    folds
    vae
    gene_list
    arms
    seeds
    code

    main:
    fits = withSettings(folds, distinctSettings('alignment', arms)).flatMap { meta, h5ad, reference, fold ->
        (meta.fold == 'all' ? seeds.take(1) : seeds).collect { seed -> [meta + [seed: seed], h5ad, reference, fold] }
    }
    // [[id, reference, settings, fold, seed], sample, reference, fold.json, vae]
    inputs = match({ meta -> [meta.reference, settingsOf('vae', meta.settings)] }, { meta -> [meta.id, meta.settings] }, fits, vae)
    ALIGN(inputs, options.use_gpu ? 'auto' : 'cpu', code.align)
    aligned = inputs.join(ALIGN.out.h5ad)
    EVALUATE(aligned.filter { meta, _h5ad, _reference, _fold, _vae, _aligned -> meta.fold == 'all' }, options.seed, code.evaluate)
    IMPUTE(withSettings(aligned, distinctSettings('imputation', arms)), options.impute_genes, gene_list, code.impute)
    imputed = IMPUTE.out.h5ad

    emit:
    imputed // [[id, reference, settings, fold, seed], h5ad]
}
