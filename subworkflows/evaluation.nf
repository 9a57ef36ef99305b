include { armsOf ; distinctSettings } from '../functions/arms'
include { gather ; match ; withSettings } from '../functions/channels'
include { CALIBRATE } from '../modules/calibrate/main'
include { SCORE } from '../modules/score/main'

// Compares what was imputed and what other methods predicted with what was measured.
workflow EVALUATION {
    take:
    options
    hidden
    imputed
    predicted
    methods
    arms
    seeds
    code

    main:
    // [[id, reference, settings], sample, [fold.json, ..]] of what is imputed
    samples = withSettings(hidden, distinctSettings('imputation', arms))
    // [[id, reference, settings], h5ad, number of files of the sample]
    of_sample = match(
        imputed.map { meta, h5ad -> [meta.subMap('id', 'reference', 'settings'), meta, h5ad] },
        samples.map { meta, _h5ad, files -> [meta, files.size()] },
        { meta -> meta },
        { meta -> meta },
    )
    compared = withSettings(predicted.map { meta, h5ad -> [meta.subMap('id', 'reference', 'settings'), h5ad] }, distinctSettings('imputation', arms))
    scored = of_sample
        .filter { _sample, meta, _h5ad, _n_folds -> meta.fold != 'all' }
        .map { sample, _meta, h5ad, n_folds -> [sample, h5ad, n_folds] }
        .mix(match(compared, samples.map { meta, _h5ad, files -> [meta, files.size()] }, { meta -> meta }, { meta -> meta }))
        .map { sample, h5ad, n_folds -> [sample, h5ad, n_folds * (seeds.size() + methods.size())] }
    SCORE(
        samples.join(gather(scored)).map { meta, h5ad, files, predictions -> [named(meta, arms), h5ad, files, inOrder(predictions)] },
        code.score,
    )

    // the full run with the folds that were imputed under the same seed
    calibrated = of_sample
        .filter { _sample, meta, _h5ad, _n_folds -> meta.seed == seeds[0] }
        .map { sample, _meta, h5ad, n_folds -> [sample, h5ad, 1 + n_folds] }
    CALIBRATE(
        samples
            .join(gather(calibrated))
            .map { meta, h5ad, files, predictions -> [named(meta, arms)] + fullAndHeldOut(predictions) + [h5ad, files] }
            .filter { _meta, full, _held_out, _h5ad, _files -> full },
        options.interval_level,
        code.calibrate,
    )
}

// The arm's name is part of what these tasks write.
def named(meta, arms) {
    return meta + [arm: armsOf(meta.settings, arms)[0]]
}

// Independent of which task ended first.
def inOrder(files) {
    return files.sort { h5ad -> "${h5ad.parent.name}/${h5ad.name} ${h5ad}" }
}

// IMPUTE's files are in folders named by their folds.
def fullAndHeldOut(files) {
    def sorted = files.sort { h5ad -> h5ad.parent.name }
    return [sorted.find { h5ad -> h5ad.parent.name == 'all' }, sorted.findAll { h5ad -> h5ad.parent.name != 'all' }]
}
