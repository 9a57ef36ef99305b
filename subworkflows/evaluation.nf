include { armsOf ; distinctSettings } from '../functions/arms'
include { gather ; withSettings } from '../functions/channels'
include { CALIBRATE } from '../modules/calibrate/main'
include { SCORE } from '../modules/score/main'

// Compares imputed genes, and the predictions of other methods, with the measurements.
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
    n_folds = samples.map { meta, _h5ad, files -> [meta, files.size()] }
    // [[id, reference, settings], meta of the task or null, h5ad, number of folds]
    by_sample = imputed.map { meta, h5ad -> [meta.subMap('id', 'reference', 'settings'), meta, h5ad] }.combine(n_folds, by: 0)
    compared = predicted.map { meta, h5ad -> [meta.subMap('id', 'reference', 'settings'), null, h5ad] }
    by_method = withSettings(compared, distinctSettings('imputation', arms)).combine(n_folds, by: 0)

    // in each fold one prediction a seed and one a task of COMPARE
    held_out = by_sample
        .filter { _sample, meta, _h5ad, _n -> meta.fold != 'all' }
        .mix(by_method)
        .map { sample, _meta, h5ad, n -> [sample, h5ad, n * (seeds.size() + methods.size())] }
    to_score = samples
        .join(gather(held_out))
        .map { meta, h5ad, files, predictions -> [named(meta, arms), h5ad, files, inOrder(predictions)] }
    SCORE(to_score, code.score)

    // the full run and the folds of the same seed
    first_seed = by_sample
        .filter { _sample, meta, _h5ad, _n -> meta.seed == seeds[0] }
        .map { sample, _meta, h5ad, n -> [sample, h5ad, 1 + n] }
    to_calibrate = samples
        .join(gather(first_seed))
        .map { meta, h5ad, files, predictions -> [named(meta, arms)] + fullAndHeldOut(predictions) + [h5ad, files] }
        .filter { _meta, full, _held_out, _h5ad, _files -> full }
    CALIBRATE(to_calibrate, options.interval_level, code.calibrate)
}

// These tasks write the arm's name.
def named(meta, arms) {
    return meta + [arm: armsOf(meta.settings, arms)[0]]
}

// Independent of the order in which tasks end.
def inOrder(files) {
    return files.sort { h5ad -> "${h5ad.parent.name}/${h5ad.name} ${h5ad}" }
}

// IMPUTE's files are in folders named by their folds.
def fullAndHeldOut(files) {
    def sorted = files.sort { h5ad -> h5ad.parent.name }
    return [sorted.find { h5ad -> h5ad.parent.name == 'all' }, sorted.findAll { h5ad -> h5ad.parent.name != 'all' }]
}
