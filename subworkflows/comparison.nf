include { distinctSettings } from '../functions/arms'
include { withSettings } from '../functions/channels'
include { COMPARE } from '../modules/compare/main'

// Predicts hidden genes by the methods to compare with, once for all arms that hide the same genes.
workflow COMPARISON {
    take:
    options
    folds
    methods
    arms
    code

    main:
    inputs = withSettings(folds, distinctSettings('comparison', arms))
        .filter { meta, _h5ad, _reference, _fold -> meta.fold != 'all' }
        .flatMap { meta, h5ad, reference, fold -> methods.collect { method -> [meta + method, h5ad, reference, fold] } }
    COMPARE(inputs, options.seed, code.compare)
    predicted = COMPARE.out.h5ad

    emit:
    predicted // [[id, reference, settings, fold, name, methods, is_published], h5ad]
}
